import type { Source } from '../../src/api/source.ts';
import { SourceError } from '../../src/api/source-error.ts';

const REFRESH_MS = 1000;

/**
 * Names of endpoints' interfaces by number, as the agent knows them: this process may be in another network namespace,
 * where the same numbers are other interfaces. A number that is not known has the agent asked again in the background.
 */
export async function interfaceNames(source: Source): Promise<(ifindex: number) => string | undefined> {
  let names = new Map<number, string>();
  let askedMs = Number.NEGATIVE_INFINITY;
  const refresh = async (): Promise<void> => {
    askedMs = performance.now();
    try {
      const networks = (await source.endpoints()).map(({ status }) => status?.networking ?? {});
      names = new Map(networks.map((n) => [n['interface-index'] ?? 0, n['interface-name'] ?? '']));
    } catch (error) {
      // The events come from elsewhere: an agent that does not answer costs the names only.
      if (!(error instanceof SourceError)) throw error;
    }
  };
  await refresh();
  return (ifindex) => {
    const name = names.get(ifindex);
    if (name === undefined && performance.now() - askedMs > REFRESH_MS) void refresh();
    return name === '' ? undefined : name;
  };
}
