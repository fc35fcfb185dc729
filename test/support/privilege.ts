import type { TestContext } from 'node:test';
import { hasCapability, missingForBpf, missingForNamespaces } from '../../src/lab/requirements.ts';

function needs(missing: readonly string[]): string | undefined {
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')}`;
}

/** Why namespaces, links and mounts cannot be made here; undefined when they can. */
export const whyNoRoot = (): string | undefined => needs(missingForNamespaces());

/** Why programs cannot be loaded and attached here; undefined when they can. A kernel that refuses is no reason. */
export const whyNoBpf = (): string | undefined => needs([...missingForNamespaces(), ...missingForBpf()]);

/** Why raw sockets cannot be opened here; undefined when they can. */
export const whyNoRawSocket = (): string | undefined =>
  needs(hasCapability('CAP_NET_RAW') ? [] : ['CAP_NET_RAW']);

type Skippable = Pick<TestContext, 'skip'>;

function granted(t: Skippable, reason: string | undefined): boolean {
  if (reason === undefined) return true;
  t.skip(reason);
  return false;
}

/** `if (!requireRoot(t)) return;` skips the test with its reason where namespaces cannot be made. */
export const requireRoot = (t: Skippable): boolean => granted(t, whyNoRoot());
/** `if (!requireBpf(t)) return;` skips the test where BPF programs cannot be attached. */
export const requireBpf = (t: Skippable): boolean => granted(t, whyNoBpf());
/** `if (!requireRawSocket(t)) return;` skips the test where raw sockets cannot be opened. */
export const requireRawSocket = (t: Skippable): boolean => granted(t, whyNoRawSocket());

/** For `describe('...', { skip: rootOrSkip() }, ...)`: the reason, or false. */
export const rootOrSkip = (): string | false => whyNoRoot() ?? false;
export const bpfOrSkip = (): string | false => whyNoBpf() ?? false;
export const rawSocketOrSkip = (): string | false => whyNoRawSocket() ?? false;
