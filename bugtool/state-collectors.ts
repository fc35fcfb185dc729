import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { NodePaths } from '../src/base/paths.ts';
import type { Collector } from './types.ts';

const LOG_CAP_BYTES = 25 << 20;

function folderEntries(folder: string): string[] {
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true
    ? readdirSync(folder).sort()
    : [];
}

/** Logs and what the agent keeps on disk: the same with the agent dead. */
export function stateCollectors(paths: NodePaths): Collector[] {
  const logs = folderEntries(paths.logDir).map(
    (name): Collector => ({
      kind: 'file',
      id: `log/${name}`,
      path: `log/${name}`,
      file: join(paths.logDir, name),
      capBytes: LOG_CAP_BYTES,
    }),
  );
  const endpoints = folderEntries(paths.endpointsDir).map(
    (id): Collector => ({
      kind: 'file',
      id: `state/endpoint/${id}`,
      path: `state/endpoint/${id}.json`,
      file: join(paths.endpointsDir, id, 'state.json'),
      // It may be taken down between the listing and the reading.
      optional: true,
    }),
  );
  return [
    { kind: 'argv', id: 'state/files', path: 'state/files.txt', argv: ['ls', '-lRn', paths.stateDir] },
    ...logs,
    ...endpoints,
  ];
}
