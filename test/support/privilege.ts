import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import type { TestContext } from 'node:test';

/** Numbers of `uapi/linux/capability.h`. */
const Capability = { netAdmin: 12, netRaw: 13, sysAdmin: 21, bpf: 39 } as const;
/** tcx links came with 6.6: from there on "unsupported" is a failure of ours. */
const TCX_KERNEL = [6, 6] as const;

function effectiveCapabilities(): bigint {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return BigInt(`0x${line?.[1] ?? '0'}`);
}

function has(capability: number): boolean {
  return ((effectiveCapabilities() >> BigInt(capability)) & 1n) === 1n;
}

/** In a child of the first user namespace, root is root of that namespace only. */
function inFirstUserNamespace(): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/m.test(readFileSync('/proc/self/uid_map', 'utf8'));
}

/** Why namespaces, links and mounts cannot be made here; undefined when they can. */
export function whyNoRoot(): string | undefined {
  if (process.getuid?.() !== 0) return `needs root (this is uid ${process.getuid?.()})`;
  if (!inFirstUserNamespace()) return 'needs root of the machine (this is a user namespace)';
  if (!has(Capability.netAdmin) || !has(Capability.sysAdmin)) return 'needs CAP_NET_ADMIN and CAP_SYS_ADMIN';
  return undefined;
}

function kernelAtLeast([major, minor]: readonly [number, number]): boolean {
  const [a = 0, b = 0] = release().split('.').map(Number);
  return a > major || (a === major && b >= minor);
}

/** Why programs cannot be loaded and attached here; undefined when they can. A kernel that is too old is a reason, a refusal is not. */
export function whyNoBpf(): string | undefined {
  const root = whyNoRoot();
  if (root !== undefined) return root;
  if (!has(Capability.bpf)) return 'needs CAP_BPF';
  if (!kernelAtLeast(TCX_KERNEL))
    return `needs Linux ${TCX_KERNEL.join('.')} for tcx links (this is ${release()})`;
  if (!existsSync('build/bpf.node')) return 'needs build/bpf.node (npm run build)';
  return undefined;
}

/** Why raw sockets cannot be opened here; undefined when they can. */
export function whyNoRawSocket(): string | undefined {
  return has(Capability.netRaw) ? undefined : 'needs CAP_NET_RAW';
}

type Skippable = Pick<TestContext, 'skip'>;

function require_(t: Skippable, reason: string | undefined): boolean {
  if (reason === undefined) return true;
  t.skip(reason);
  return false;
}

/** `if (!requireRoot(t)) return;` skips the test with its reason where namespaces cannot be made. */
export const requireRoot = (t: Skippable): boolean => require_(t, whyNoRoot());
/** `if (!requireBpf(t)) return;` skips the test where BPF programs cannot be attached. */
export const requireBpf = (t: Skippable): boolean => require_(t, whyNoBpf());
/** `if (!requireRawSocket(t)) return;` skips the test where raw sockets cannot be opened. */
export const requireRawSocket = (t: Skippable): boolean => require_(t, whyNoRawSocket());

/** For `describe('...', { skip: rootOrSkip() }, ...)`: the reason, or false. */
export const rootOrSkip = (): string | false => whyNoRoot() ?? false;
export const bpfOrSkip = (): string | false => whyNoBpf() ?? false;
export const rawSocketOrSkip = (): string | false => whyNoRawSocket() ?? false;
