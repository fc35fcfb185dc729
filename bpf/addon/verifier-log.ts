/** Lines before the verdict that are kept: enough to see how the registers came to be. */
const KEPT_LINES = 40;

/** What libbpf said about a failed load, cut to the program that failed and the end of its verifier log. */
export interface LoadFailure {
  /** The program that the verifier refused; undefined when it failed before (a map, a relocation). */
  readonly program: string | undefined;
  /** The verifier's or libbpf's last word. */
  readonly reason: string;
  readonly log: string;
}

const isStatistics = (line: string): boolean =>
  /^(processed \d+ insns|verification time|stack depth|peak_states)/.test(line);

/** That a limit could not be raised, which kernels since 5.11 do not ask for: never why it failed. */
const isLimit = (line: string): boolean => line.startsWith('libbpf: Failed to bump RLIMIT_MEMLOCK');

/** @param text all that libbpf said at warning level during the load */
export function readLoadFailure(text: string): LoadFailure {
  const begin = /libbpf: prog '([^']*)': -- BEGIN PROG LOAD LOG --\n/.exec(text);
  if (begin === null) {
    const lines = text.split('\n').filter((line) => line !== '');
    const [first = ''] = lines.filter((line) => !isLimit(line));
    return {
      program: undefined,
      reason: first.replace(/^libbpf: /, ''),
      log: lines.slice(0, KEPT_LINES).join('\n'),
    };
  }
  const rest = text.slice(begin.index + begin[0].length);
  const end = rest.indexOf('-- END PROG LOAD LOG --');
  const lines = (end < 0 ? rest : rest.slice(0, end)).split('\n').filter((line) => line !== '');
  const verdict = lines.filter((line) => !isStatistics(line)).at(-1) ?? '';
  return { program: begin[1], reason: verdict, log: lines.slice(-KEPT_LINES).join('\n') };
}
