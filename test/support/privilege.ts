import { hasCapability, missingForBpf, missingForNamespaces } from '../../src/lab/requirements.ts';

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
