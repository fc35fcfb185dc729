import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { type AgentOperations, ApiError } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import { parseOneOf } from '../../base/option-parsers.ts';
import type { MapUsage } from '../../datapath/types.ts';
import { configView } from '../config-view.ts';
import { normaliseOptions } from '../endpoint-request.ts';
import { mapCache } from '../map-cache.ts';
import { serviceView } from '../services/service-view.ts';
import { briefStatus, fullStatus, nodeView } from '../status.ts';
import { notFound, type OperationsDeps } from './deps.ts';
import { viewOf } from './endpoint-operations.ts';
import { policyAnswer } from './policy-operations.ts';

type NodeOperations = Pick<
  AgentOperations,
  | 'healthz'
  | 'getConfig'
  | 'patchConfig'
  | 'listNodes'
  | 'listNodeIds'
  | 'listMaps'
  | 'getMap'
  | 'getDebugInfo'
  | 'getMetrics'
>;

/** Policy maps of endpoints lie in one pinned map of maps: each is shown beside it, under its own name. */
function mapView(deps: OperationsDeps, { name, path, entries }: MapUsage): Api.BPFMap {
  const { manager, ipcache } = deps;
  const cache = mapCache(name, { endpoints: manager.listAll(), ipcache });
  const view = { path: join(dirname(path), name), entries };
  return cache === undefined ? view : { ...view, cache };
}

/** The node itself: its state, settings, maps and peers. */
export function nodeOperations(deps: OperationsDeps): NodeOperations {
  return {
    async healthz(options: { readonly brief: boolean }): Promise<Api.StatusResponse> {
      return options.brief ? briefStatus(deps) : fullStatus(deps);
    },

    async getConfig(): Promise<Api.DaemonConfiguration> {
      return configView(deps.config, deps);
    },

    async patchConfig(spec: Api.DaemonConfigurationSpec): Promise<void> {
      const { config, policy } = deps;
      const changed = normaliseOptions(spec.options ?? {}, config.mutable);
      const other = Object.entries(changed).find(([name, value]) => config.mutable[name] !== value);
      if (other !== undefined) {
        throw new ApiError(
          400,
          `is ${config.mutable[other[0]]} here and cannot be changed while the agent runs`,
          {
            field: `options.${other[0]}`,
          },
        );
      }
      const mode = spec['policy-enforcement'];
      if (mode !== undefined) policy.setMode(parseOneOf('default', 'always', 'never')(mode));
    },

    async listNodes(): Promise<{ self: string; nodes: readonly Api.NodeElement[] }> {
      const nodes = deps.cluster.nodes();
      const self = nodes[0]?.name ?? '';
      return { self, nodes: nodes.map((node) => nodeView(node, self)) };
    },

    async listNodeIds(): Promise<readonly Api.NodeID[]> {
      return deps.cluster.nodes().map(({ ipv4, ipv6 }, i) => ({
        id: i,
        ips: [ipv4, ipv6].filter((ip) => ip !== undefined),
      }));
    },

    async listMaps(): Promise<Api.BPFMapList> {
      const maps = await deps.datapath.readMapUsage();
      return { maps: maps.map((map) => mapView(deps, map)) };
    },

    async getMap(name: string): Promise<Api.BPFMap> {
      const maps = await deps.datapath.readMapUsage();
      const found = maps.find((map) => map.name === name);
      if (found === undefined) throw notFound(`no map ${name}`);
      return mapView(deps, found);
    },

    async getDebugInfo(): Promise<Api.DebugInfo> {
      return {
        'cilium-version': deps.version,
        'kernel-version': release(),
        'cilium-status': await fullStatus(deps),
        'endpoint-list': deps.manager.listAll().map((endpoint) => viewOf(deps, endpoint)),
        'service-list': deps.services.list().map(serviceView),
        policy: await policyAnswer(deps),
        'environment-variables': [],
        subsystem: {},
      };
    },

    getMetrics(): Promise<string> {
      return deps.metricsText();
    },
  };
}
