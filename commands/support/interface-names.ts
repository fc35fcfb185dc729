import { readFile } from 'node:fs/promises';
import type { Source } from '../../src/api/source.ts';
import { SourceError } from '../../src/api/source-error.ts';

const REFRESH_MS = 1000;

/** `/proc/net/igmp`: a line `INDEX\tNAME : ...` an interface, its groups indented below. */
function namesOfIgmp(text: string): (readonly [number, string])[] {
  const lines = text.matchAll(/^(\d+)\t(\S+)\s*:/gm);
  return [...lines].map(([, index, name]) => [Number(index), name ?? ''] as const);
}

/** `/proc/net/if_inet6`: address, index (hexadecimal), prefix length, scope, flags, name. */
function namesOfInet6(text: string): (readonly [number, string])[] {
  const lines = text.matchAll(/^[0-9a-f]{32} ([0-9a-f]+) \S+ \S+ \S+ +(\S+)$/gm);
  return [...lines].map(([, index = '', name = '']) => [Number.parseInt(index, 16), name] as const);
}

async function fileOrNothing(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    // The process is gone or another user's, or the kernel has no such family: these names are then not known.
    if (error instanceof Error && 'code' in error) return '';
    throw error;
  }
}

/** Interfaces with an address family on, by number, of the network namespace of a process. */
export async function namesInNamespaceOf(pid: number): Promise<ReadonlyMap<number, string>> {
  const [igmp, inet6] = await Promise.all([
    fileOrNothing(`/proc/${pid}/net/igmp`),
    fileOrNothing(`/proc/${pid}/net/if_inet6`),
  ]);
  return new Map([...namesOfInet6(inet6), ...namesOfIgmp(igmp)]);
}

async function endpointNames(source: Source): Promise<readonly (readonly [number, string])[]> {
  try {
    const networks = (await source.endpoints()).map(({ status }) => status?.networking ?? {});
    return networks.map((n) => [n['interface-index'] ?? 0, n['interface-name'] ?? ''] as const);
  } catch (error) {
    // The events come from elsewhere: an agent that does not answer costs the names only.
    if (!(error instanceof SourceError)) throw error;
    return [];
  }
}

/**
 * Names of interfaces by number, as the agent has them: this process may be in another network namespace, where the same
 * numbers are other interfaces. Endpoints' come from the agent's answers, all others from its namespace where its
 * process is known. A number that is not known has both asked again in the background.
 */
export async function interfaceNames(
  source: Source,
  agentPid: number | undefined,
): Promise<(ifindex: number) => string | undefined> {
  let names: ReadonlyMap<number, string> = new Map();
  let askedMs = Number.NEGATIVE_INFINITY;
  const refresh = async (): Promise<void> => {
    askedMs = performance.now();
    const [own, endpoints] = await Promise.all([
      agentPid === undefined ? new Map<number, string>() : namesInNamespaceOf(agentPid),
      endpointNames(source),
    ]);
    names = new Map([...own, ...endpoints.filter(([, name]) => name !== '')]);
  };
  await refresh();
  return (ifindex) => {
    const name = names.get(ifindex);
    if (name === undefined && performance.now() - askedMs > REFRESH_MS) void refresh();
    return name;
  };
}
