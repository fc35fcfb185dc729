import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type RunResult, run } from '../../base/run.ts';
import { ciliate, nodeEnvironment } from '../agent-process.ts';
import { inNetns } from '../host.ts';
import type { NodeLayout } from '../layout.ts';
import type { DemoReport } from './report.ts';

const COMMAND_LIMIT_MS = 90_000;

/** `argv` of one of our commands as it is run on a node, with that node's sockets in its environment. */
export function onNode(node: NodeLayout, words: readonly string[]): readonly string[] {
  const environment = Object.entries(nodeEnvironment(node)).map(([name, value]) => `${name}=${value}`);
  return ['env', ...environment, ...inNetns(node.netns, ciliate(...words))];
}

/** Runs one of our commands on a node, as a user would. */
export function runOn(node: NodeLayout, words: readonly string[]): Promise<RunResult> {
  return run(onNode(node, words), { timeoutMs: COMMAND_LIMIT_MS });
}

function shownWords(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' ');
}

/**
 * Runs one of our commands on a node, shows it with what it prints, and checks its exit.
 * @param exits the codes that are fine
 * @returns its standard output
 */
export async function showOn(
  report: DemoReport,
  node: NodeLayout,
  words: readonly string[],
  exits: readonly number[] = [0],
): Promise<string> {
  const result = await runOn(node, words);
  report.output(`\n${node.name}$ ciliate ${shownWords(words)}\n${result.stdout}`);
  if (result.exitCode !== undefined && exits.includes(result.exitCode)) return result.stdout;
  report.output(result.stderr);
  report.check(
    false,
    `ciliate ${shownWords(words)} exits ${exits.join(' or ')} (${result.exitCode ?? 'ended by a signal'})`,
  );
  return result.stdout;
}

export interface Follower {
  /** Everything it has printed so far. */
  text(): string;
  /** Ends it and waits. */
  stop(): Promise<void>;
}

/** Starts one of our commands that prints until it is ended, such as `monitor`. */
export async function followOn(node: NodeLayout, words: readonly string[]): Promise<Follower> {
  const [program = '', ...rest] = onNode(node, words);
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  const grow = (part: Buffer): void => {
    text += part.toString('utf8');
  };
  child.stdout.on('data', grow);
  child.stderr.on('data', grow);
  await once(child, 'spawn');
  return {
    text: () => text,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, 'close');
      child.kill('SIGTERM');
      const last = setTimeout(() => child.kill('SIGKILL'), 3000);
      await closed;
      clearTimeout(last);
    },
  };
}
