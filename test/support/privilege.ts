import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { packageRoot } from '../../src/base/assets.ts';
import { hasCapability } from '../../src/base/kernel-features.ts';
import { missingForBpf, missingForNamespaces } from '../../src/lab/requirements.ts';

function needs(missing: readonly string[]): string | undefined {
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')}`;
}

/** Why namespaces, links and mounts cannot be made here; undefined when they can. */
export const whyNoRoot = (): string | undefined => needs(missingForNamespaces());

/** Why programs cannot be loaded and attached here; undefined when they can. A kernel that refuses is no reason. */
export const whyNoBpf = (): string | undefined => needs([...missingForNamespaces(), ...missingForBpf()]);

/** Why raw sockets cannot be opened here; undefined when they can. */
const whyNoRawSocket = (): string | undefined => needs(hasCapability('CAP_NET_RAW') ? [] : ['CAP_NET_RAW']);

/** For `describe('...', { skip: rootOrSkip() }, ...)`: the reason, or false. */
export const rootOrSkip = (): string | false => whyNoRoot() ?? false;
export const bpfOrSkip = (): string | false => whyNoBpf() ?? false;
export const rawSocketOrSkip = (): string | false => whyNoRawSocket() ?? false;

const NOBODY = [
  'setpriv',
  '--reuid=65534',
  '--regid=65534',
  '--clear-groups',
  '--inh-caps=-all',
  '--',
] as const;

/** The outermost folder above `path` that other users may not enter, as /root is. */
function closedFolder(path: string): string | undefined {
  const parent = dirname(path);
  const outer = parent === path ? undefined : closedFolder(parent);
  return outer ?? ((statSync(path).mode & 0o001) === 0 ? path : undefined);
}

/** $0: the closed folder, $1: the clone. Only this process sees these mounts. */
const OPEN_CLONE =
  'mount --bind "$1" /mnt && mount -t tmpfs -o mode=755 none "$0" && mkdir -p "$1" && mount --bind /mnt "$1" && ' +
  'cd "$1" && shift && exec "$@"';

/**
 * `argv` as the user nobody, without capabilities; needs root. A clone in a folder that other users may not enter is made
 * reachable at its own path, in a mount namespace of that process.
 */
export function asNobody(argv: readonly string[]): readonly string[] {
  const root = packageRoot();
  const closed = closedFolder(root);
  if (closed === undefined) return [...NOBODY, ...argv];
  return ['unshare', '--mount', 'sh', '-c', OPEN_CLONE, closed, root, ...NOBODY, ...argv];
}
