import type { MapReader as EntryReader } from '../../src/api/live-source.ts';
import type { DecodedMapEntry } from '../../src/api/source.ts';
import { NotPermittedError } from '../../src/base/errors.ts';
import type { NodePaths } from '../../src/base/paths.ts';
import type { MapReader } from '../../src/datapath/index.ts';

/** Whether this process may look below the folder of the pins at all; only root may, as a rule. */
function refuseUnprivileged(paths: NodePaths): void {
  if (process.getuid?.() === 0) return;
  throw new NotPermittedError(`not permitted to read the maps in ${paths.bpfDir}`, {
    code: 'MAPS_NOT_PERMITTED',
    hint: 'run as root (reading BPF maps needs CAP_BPF and access to the bpffs)',
  });
}

/**
 * Opens the node's pinned maps, runs `use` and closes them. The agent is not needed.
 * @throws NotPermittedError code MAPS_NOT_PERMITTED · SystemError code DATAPATH_MISSING
 */
export async function withMaps<T>(paths: NodePaths, use: (maps: MapReader) => T | Promise<T>): Promise<T> {
  const { openMapReader } = await import('../../src/datapath/map-reader.ts');
  let maps: MapReader;
  try {
    maps = openMapReader(paths.bpfDir);
  } catch (error) {
    refuseUnprivileged(paths);
    throw error;
  }
  try {
    return await use(maps);
  } finally {
    maps.close();
  }
}

/** Reads any of the node's pinned maps by its BTF; the addon is loaded at the first map that is asked for. */
export function lazyMapReader(paths: NodePaths): EntryReader {
  return {
    names: async () => (await import('./raw-maps.ts')).pinnedMapNames(paths.bpfDir),
    entries: async function* (name: string): AsyncGenerator<DecodedMapEntry> {
      yield* (await import('./raw-maps.ts')).pinnedMapEntries(paths.bpfDir, name);
    },
  };
}
