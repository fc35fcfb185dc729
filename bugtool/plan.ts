import { matchesGlob } from 'node:path';
import type { Bpf } from '../bpf/addon/index.ts';
import { UsageError } from '../src/base/errors.ts';
import type { NodePaths } from '../src/base/paths.ts';
import {
  agentCollectors,
  type BugtoolAgent,
  type BugtoolHealth,
  healthCollectors,
} from './api-collectors.ts';
import { bpfCollectors } from './bpf-collectors.ts';
import { hostCollectors } from './host-collectors.ts';
import { stateCollectors } from './state-collectors.ts';
import type { Collector } from './types.ts';

export interface PlanOptions {
  readonly paths: NodePaths;
  readonly agent: BugtoolAgent;
  readonly health: BugtoolHealth;
  readonly loadBpf: () => Bpf;
  /** Globs over ids; none: all. */
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
}

/** `host/*` picks by glob, `host` by folder. */
function picks(pattern: string, id: string): boolean {
  return id === pattern || id.startsWith(`${pattern}/`) || matchesGlob(id, pattern);
}

/**
 * What would be collected now, in order: host and kernel, BPF, agent, health, files.
 * @throws UsageError NO_COLLECTOR when a glob picks nothing
 */
export async function planCollectors(options: PlanOptions): Promise<readonly Collector[]> {
  const { paths, include = [], exclude = [] } = options;
  const [agent, health] = await Promise.all([
    agentCollectors(options.agent),
    healthCollectors(options.health),
  ]);
  const all = [
    ...agent,
    ...health,
    ...bpfCollectors(options.loadBpf, paths.bpfDir),
    ...stateCollectors(paths),
    ...hostCollectors,
  ];
  for (const pattern of [...include, ...exclude]) {
    if (all.some(({ id }) => picks(pattern, id))) continue;
    throw new UsageError(`no collector matches ${JSON.stringify(pattern)}`, {
      code: 'NO_COLLECTOR',
      hint: '`bugtool --list` shows their ids',
    });
  }
  return all.filter(
    ({ id }) =>
      (include.length === 0 || include.some((pattern) => picks(pattern, id))) &&
      !exclude.some((pattern) => picks(pattern, id)),
  );
}
