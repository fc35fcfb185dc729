import { existsSync, readdirSync } from 'node:fs';
import { makeFolder } from '../base/make-folder.ts';
import { type RunResult, run, runChecked } from '../base/run.ts';

const COMMAND_LIMIT_MS = 30_000;
const NETNS_FOLDER = '/run/netns';

/** Path of a namespace's handle, for `nsenter --net=` and for the agent. */
export function netnsPath(netns: string): string {
  return `${NETNS_FOLDER}/${netns}`;
}

export function netnsExists(netns: string): boolean {
  return existsSync(netnsPath(netns));
}

/** Names of the namespaces that begin with `prefix`. */
export function listNetns(prefix: string): readonly string[] {
  if (!existsSync(NETNS_FOLDER)) return [];
  return readdirSync(NETNS_FOLDER)
    .filter((name) => name.startsWith(prefix))
    .sort();
}

/** `argv` such that it runs in a namespace with the mounts of here: `ip netns exec` would hide the lab's bpffs. */
export function inNetns(netns: string | undefined, argv: readonly string[]): readonly string[] {
  return netns === undefined ? argv : ['nsenter', `--net=${netnsPath(netns)}`, '--', ...argv];
}

/**
 * Runs many `ip` commands in one process, stopping at the first that fails.
 * @throws SystemError code COMMAND_FAILED with ip's own words and line number
 */
export async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  const where = netns === undefined ? [] : ['-n', netns];
  await runChecked(['ip', ...where, '-batch', '-'], {
    timeoutMs: COMMAND_LIMIT_MS,
    input: `${lines.join('\n')}\n`,
  });
}

export async function ip(...words: readonly string[]): Promise<string> {
  return runChecked(['ip', ...words], { timeoutMs: COMMAND_LIMIT_MS });
}

/** Runs `argv` in a namespace and waits for its end; see `run`. */
export function execIn(
  netns: string | undefined,
  argv: readonly string[],
  timeoutMs: number = COMMAND_LIMIT_MS,
): Promise<RunResult> {
  return run(inNetns(netns, argv), { timeoutMs });
}

/**
 * Sets sysctls of a namespace, by their path below `/proc/sys/`.
 * `/proc/sys/net` shows those of whoever opens it; `tee` writes one value to many of them.
 */
export async function setSysctls(netns: string, settings: Readonly<Record<string, string>>): Promise<void> {
  const byValue = Map.groupBy(Object.entries(settings), ([, value]) => value);
  for (const [value, entries] of byValue) {
    const files = entries.map(([key]) => `/proc/sys/${key}`);
    await runChecked(inNetns(netns, ['tee', ...files]), { timeoutMs: COMMAND_LIMIT_MS, input: value });
  }
}

/** Makes a namespace with its loopback up. */
export async function addNetns(netns: string): Promise<void> {
  makeFolder(NETNS_FOLDER);
  await ip('netns', 'add', netns);
  await ip('-n', netns, 'link', 'set', 'lo', 'up');
}

/** Removes a namespace and with it its links; one that is gone already is no error. */
export async function deleteNetns(netns: string): Promise<void> {
  if (netnsExists(netns)) await ip('netns', 'delete', netns);
}

/** Ids of the processes in a namespace. */
export async function netnsPids(netns: string): Promise<readonly number[]> {
  if (!netnsExists(netns)) return [];
  const text = await ip('netns', 'pids', netns);
  return text.split('\n').filter(Boolean).map(Number);
}

export async function mountBpffs(folder: string): Promise<void> {
  makeFolder(folder);
  await runChecked(['mount', '-t', 'bpf', '-o', 'mode=0700', 'none', folder], {
    timeoutMs: COMMAND_LIMIT_MS,
  });
}

export async function isMounted(folder: string): Promise<boolean> {
  const result = await run(['mountpoint', '-q', folder], { timeoutMs: COMMAND_LIMIT_MS });
  return result.exitCode === 0;
}

export async function unmount(folder: string): Promise<void> {
  if (await isMounted(folder)) await runChecked(['umount', folder], { timeoutMs: COMMAND_LIMIT_MS });
}
