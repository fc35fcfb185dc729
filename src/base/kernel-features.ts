import { readFileSync } from 'node:fs';
import { release } from 'node:os';

/** Numbers of `uapi/linux/capability.h`. */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_SYS_ADMIN: 21, CAP_BPF: 39 } as const;
export type CapabilityName = keyof typeof CAPABILITIES;

/** tcx links came with 6.6. */
const TCX_KERNEL = [6, 6] as const;

/** What is known of this process and its kernel; another machine in tests. */
export interface KernelFacts {
  /** Text of /proc/self/status. */
  readonly status: string;
  /** Text of /proc/self/uid_map. */
  readonly uidMap: string;
  /** `6.6.1-distribution`. */
  readonly release: string;
}

export function kernelFacts(): KernelFacts {
  return {
    status: readFileSync('/proc/self/status', 'utf8'),
    uidMap: readFileSync('/proc/self/uid_map', 'utf8'),
    release: release(),
  };
}

/** Whether this process has a capability, in the user namespace that it is in. */
export function hasCapability(name: CapabilityName, { status } = kernelFacts()): boolean {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(status);
  return ((BigInt(`0x${line?.[1] ?? '0'}`) >> BigInt(CAPABILITIES[name])) & 1n) === 1n;
}

/** In any other user namespace capabilities count for that namespace only, and programs cannot be loaded. */
export function inFirstUserNamespace({ uidMap } = kernelFacts()): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/m.test(uidMap);
}

/** A sentence's part when the kernel is too old for tcx links. */
export function missingTcx({ release: text } = kernelFacts()): readonly string[] {
  const [a = 0, b = 0] = text.split('.').map(Number);
  const [major, minor] = TCX_KERNEL;
  return a > major || (a === major && b >= minor)
    ? []
    : [`Linux ${TCX_KERNEL.join('.')} for tcx links (this is ${text})`];
}

/** What an agent lacks that is to drive the BPF datapath; empty when nothing. CAP_SYS_ADMIN includes CAP_BPF. */
export function missingForDatapath(facts = kernelFacts()): readonly string[] {
  const mayLoad = hasCapability('CAP_BPF', facts) || hasCapability('CAP_SYS_ADMIN', facts);
  return [
    ...(mayLoad ? [] : ['CAP_BPF']),
    ...(hasCapability('CAP_NET_ADMIN', facts) ? [] : ['CAP_NET_ADMIN']),
    ...(inFirstUserNamespace(facts)
      ? []
      : ["the machine's first user namespace, where BPF programs may be loaded"]),
    ...missingTcx(facts),
  ];
}
