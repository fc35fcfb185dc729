import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { run, runChecked } from '../../src/base/run.ts';
import { setSysctls } from '../../src/lab/host.ts';

const COMMAND_LIMIT_MS = 20_000;
const BATCH_LIMIT_MS = 60_000;

/** Network namespaces and links of one test, with a prefix of its own; `cleanUp` removes all of them, also half-made ones. */
export class NetnsLab {
  /** At most 6 characters: names of links have room for 9 more. */
  readonly prefix: string;
  readonly #namespaces: string[] = [];
  readonly #links: string[] = [];

  constructor(letter = 't') {
    this.prefix = `${letter}${randomBytes(2).toString('hex')}`;
  }

  /** `ip` with these words. */
  ip(...words: readonly string[]): Promise<string> {
    return runChecked(['ip', ...words], { timeoutMs: COMMAND_LIMIT_MS });
  }

  /** `tc` with these words. */
  tc(...words: readonly string[]): Promise<string> {
    return runChecked(['tc', ...words], { timeoutMs: COMMAND_LIMIT_MS });
  }

  /** Many `ip` commands of one namespace in one process. */
  async ipBatch(namespace: string, lines: readonly string[]): Promise<void> {
    const input = `${lines.join('\n')}\n`;
    await runChecked(['ip', '-n', namespace, '-batch', '-'], { input, timeoutMs: BATCH_LIMIT_MS });
  }

  /** MAC address of a device. */
  async mac(namespace: string, device: string): Promise<Uint8Array> {
    const [link] = JSON.parse(await this.ip('-n', namespace, '-j', 'link', 'show', 'dev', device)) as [
      { address: string },
    ];
    return Uint8Array.from(link.address.split(':'), (part) => Number.parseInt(part, 16));
  }

  /** Path of a namespace's handle, for `nsenter --net=`. */
  path(namespace: string): string {
    return `/run/netns/${namespace}`;
  }

  /** Makes a namespace with its loopback up. @returns its name, prefix included */
  async namespace(name: string): Promise<string> {
    const full = `${this.prefix}-${name}`;
    this.#namespaces.push(full);
    await this.ip('netns', 'add', full);
    await this.ip('-n', full, 'link', 'set', 'lo', 'up');
    return full;
  }

  /** A veth pair, each end in a namespace and up; an end without namespace stays here, with the prefix before its name. */
  async veth(
    a: { readonly name: string; readonly netns?: string; readonly addresses?: readonly string[] },
    b: { readonly name: string; readonly netns?: string; readonly addresses?: readonly string[] },
  ): Promise<void> {
    const local = `${this.prefix}${randomBytes(2).toString('hex')}`;
    const temporary = [`${local}a`, `${local}b`] as const;
    this.#links.push(temporary[0]);
    await this.ip('link', 'add', temporary[0], 'type', 'veth', 'peer', 'name', temporary[1]);
    for (const [end, link] of [[a, temporary[0]] as const, [b, temporary[1]] as const]) {
      if (end.netns === undefined) this.#links.push(end.name);
      else await this.ip('link', 'set', link, 'netns', end.netns);
      const where = end.netns === undefined ? [] : ['-n', end.netns];
      await this.ip(...where, 'link', 'set', link, 'name', end.name);
      for (const address of end.addresses ?? []) {
        const noDad = address.includes(':') ? ['nodad'] : [];
        await this.ip(...where, 'address', 'add', address, 'dev', end.name, ...noDad);
      }
      await this.ip(...where, 'link', 'set', end.name, 'up');
    }
  }

  /** Runs `argv` inside a namespace, with the mounts of here (`ip netns exec` would hide them). */
  exec(namespace: string, argv: readonly string[], timeoutMs = COMMAND_LIMIT_MS): ReturnType<typeof run> {
    return run(['nsenter', `--net=${this.path(namespace)}`, '--', ...argv], { timeoutMs });
  }

  /** Sets sysctls of a namespace: `net.ipv4.ip_forward=1`. Debian's smallest installation has no sysctl command. */
  async sysctl(namespace: string, ...settings: readonly string[]): Promise<void> {
    const pairs = settings.map((setting) => {
      const [name = '', value = ''] = setting.split('=');
      return [name.replaceAll('.', '/'), value] as const;
    });
    await setSysctls(namespace, Object.fromEntries(pairs));
  }

  /** Removes everything that was made; what is gone already is no error. */
  async cleanUp(): Promise<void> {
    const options = { timeoutMs: COMMAND_LIMIT_MS };
    for (const link of this.#links.splice(0)) await run(['ip', 'link', 'delete', link], options);
    for (const name of this.#namespaces.splice(0)) {
      if (existsSync(this.path(name))) await runChecked(['ip', 'netns', 'delete', name], options);
    }
  }
}

export interface Leftovers {
  readonly namespaces: readonly string[];
  readonly links: readonly string[];
  readonly mounts: readonly string[];
  readonly pins: readonly string[];
  /** `pid command line` of processes that run our sources, bundle or launcher. */
  readonly processes: readonly string[];
}

function listFolder(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return '';
    throw error;
  }
}

function ownProcesses(): string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids
    .map((pid) => `${pid} ${commandLine(pid)}`)
    .filter((text) => /(?:ciliate|star-wars|deathstar)\S* /.test(`${text} `) && !text.includes('--test'));
}

/** What a run could leave behind on this machine, at this moment. Several tests at once: compare what carries your own prefix. */
export function snapshot(): Leftovers {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n');
  return {
    namespaces: listFolder('/run/netns').sort(),
    links: listFolder('/sys/class/net').sort(),
    mounts: mounts.map((line) => line.split(' ')[4] ?? '').sort(),
    pins: listFolder('/sys/fs/bpf').sort(),
    processes: ownProcesses(),
  };
}

/** What is there now and was not in `before`; `match` limits it to names of one test (a prefix, a folder). */
export function leftovers(before: Leftovers, match = /./): Leftovers {
  const now = snapshot();
  const added = (kind: keyof Leftovers): readonly string[] =>
    now[kind].filter((entry) => !before[kind].includes(entry) && match.test(entry));
  return {
    namespaces: added('namespaces'),
    links: added('links'),
    mounts: added('mounts'),
    pins: added('pins'),
    processes: added('processes'),
  };
}

/** Whether nothing is left. */
export function isClean(left: Leftovers): boolean {
  return Object.values(left).every((entries: readonly string[]) => entries.length === 0);
}
