import { join } from 'node:path';
import { PolicyManager } from '../../src/agent/policy-manager.ts';
import { PrefixWriter } from '../../src/agent/prefix-writer.ts';
import { silentLog } from '../../src/base/log.ts';

/** Around a policy manager without an agent: the identities that the ipcache names, and endpoints with their identities. */
export interface ManagerWorld {
  readonly named?: (() => ReadonlySet<number>) | undefined;
  readonly endpoints?: (() => ReadonlyMap<number, number>) | undefined;
}

/** A policy manager whose rules are kept in `stateDir`; not loaded yet. */
export function managerIn(
  stateDir: string,
  { named = () => new Set(), endpoints = () => new Map() }: ManagerWorld = {},
): PolicyManager {
  const nothing = (): undefined => undefined;
  const prefixes = new PrefixWriter(join(stateDir, 'local-identities.json'), {
    log: silentLog,
    now: () => new Date(0),
    ipcache: {
      setPrefix: nothing,
      removePrefix: nothing,
      setNodeIdentity: nothing,
      removeNodeIdentity: nothing,
      writtenIdentities: named,
      identities: named,
      waits: false,
    },
    isPodRange: () => false,
    syncIpcache: async () => undefined,
  });
  return new PolicyManager(
    {
      ...{ stateDir, clusterName: 'default', mode: 'default', allowLocalhost: 'policy' },
      ...{ apiServers: [], nodeLabels: false },
    },
    {
      log: silentLog,
      emit: nothing,
      now: () => new Date(0),
      onChange: nothing,
      endpointsOf: (ids) => [...endpoints()].flatMap(([id, one]) => (ids.has(one) ? [id] : [])),
      allEndpoints: () => [...endpoints().keys()],
      close: async () => undefined,
      prefixes,
      onApiServers: nothing,
      onL7Change: nothing,
      onL7Done: nothing,
      onImplemented: nothing,
      selectNames: () => [],
    },
  );
}
