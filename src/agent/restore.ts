import { errorText } from '../base/errors.ts';
import { formatIp } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import type { Datapath, DatapathEndpoint } from '../datapath/types.ts';
import { type Identity, RESERVED_IDENTITIES } from '../model/identity.ts';
import type { Store } from '../store/types.ts';
import { Endpoint, type EndpointSpec, NO_CONTAINER } from './endpoint.ts';
import type { CorruptRecord, EndpointDirectory } from './endpoint-directory.ts';
import type { EndpointManager } from './endpoint-manager.ts';
import type { EndpointRecord } from './endpoint-record.ts';
import { identityById } from './identity-manager.ts';
import { formatMac } from './mac.ts';
import type { NetworkSetup } from './network-setup.ts';

export interface RestoreDeps {
  readonly directory: EndpointDirectory;
  readonly datapath: Datapath;
  readonly network: NetworkSetup;
  readonly store: Store;
  readonly manager: EndpointManager;
  readonly log: Logger;
  readonly now: () => Date;
}

/** How a restart went, for status, log and metrics. */
export interface RestoreReport {
  readonly restored: number;
  /** Records and datapath endpoints whose interface is gone: removed. */
  readonly cleaned: number;
  readonly corrupt: readonly CorruptRecord[];
  /** Endpoints that are kept, but not as they were. */
  readonly problems: readonly string[];
}

/**
 * Finds the endpoints of an earlier agent again:
 * 1. records on disk whose interface still exists become endpoints; those that the datapath holds go on enforcing as
 *    they are until their first regeneration, the others are attached anew;
 * 2. what the datapath holds without a readable record is made an endpoint from what the datapath and the store know
 *    of it: taking it down would leave its pod unguarded;
 * 3. what has lost its interface is removed from both.
 */
export async function restoreEndpoints(
  adopted: readonly DatapathEndpoint[],
  deps: RestoreDeps,
): Promise<RestoreReport> {
  const { records, corrupt } = deps.directory.readAll(deps.now());
  const held = new Map(adopted.map((endpoint) => [endpoint.id, endpoint]));
  const problems: string[] = [];
  let cleaned = 0;
  let restored = 0;
  const all = [...records, ...(await rebuildRecords(records, adopted, deps, problems))];
  for (const record of all) {
    const inDatapath = held.get(record.spec.id);
    if (await interfaceGone(record.spec, deps)) {
      await cleanUp(record.spec, inDatapath !== undefined, deps);
      cleaned++;
      continue;
    }
    try {
      deps.manager.adopt(await endpointOf(record, inDatapath, deps));
      restored++;
    } catch (error) {
      problems.push(`endpoint ${record.spec.id}: ${errorText(error)}`);
      deps.log.error({ endpoint: record.spec.id, error: errorText(error) }, 'endpoint not restored');
    }
  }
  for (const { id, aside, reason } of corrupt) {
    deps.log.error({ endpoint: id, aside, reason }, 'endpoint state file is corrupt, set aside');
  }
  return { restored, cleaned, corrupt, problems };
}

async function endpointOf(
  record: EndpointRecord,
  held: DatapathEndpoint | undefined,
  { now, store }: RestoreDeps,
): Promise<Endpoint> {
  const { spec, labels, options, identity } = record;
  const endpoint = new Endpoint({ spec, labels, options, state: 'restoring', now });
  endpoint.identity = identity;
  endpoint.datapathIdentity = held?.identity;
  // Until its policy map is read nobody knows what it sends to the proxy.
  if (held !== undefined) {
    endpoint.redirects = undefined;
    endpoint.opened = true;
    endpoint.inForce = await identityInForce(held.identity, identity, store);
  }
  return endpoint;
}

/** Whose policy the datapath enforces: not the recorded one where an agent was killed before it switched. */
async function identityInForce(
  held: number,
  recorded: Identity | undefined,
  store: Store,
): Promise<Identity | undefined> {
  if (recorded?.id === held) return recorded;
  // With the store away nobody can tell whose policy that is: the endpoint is closed if a change has to wait for it.
  return identityById(held, store).catch(() => undefined);
}

/** Whether another interface, or none, has the endpoint's name now. Without a link there is nothing to lose. */
async function interfaceGone(spec: EndpointSpec, { datapath, network }: RestoreDeps): Promise<boolean> {
  if (datapath.kind === 'none') return false;
  return (await network.interfaceIndex(spec.interfaceName)) !== spec.interfaceIndex;
}

async function cleanUp(spec: EndpointSpec, held: boolean, deps: RestoreDeps): Promise<void> {
  deps.log.info(
    { endpoint: spec.id, interface: spec.interfaceName },
    'endpoint has lost its interface: removed',
  );
  try {
    await deps.network.removeEndpoint(spec);
    if (held) await deps.datapath.detachEndpoint(spec.id);
  } catch (error) {
    deps.log.warn({ endpoint: spec.id, error: errorText(error) }, 'clean-up of a lost endpoint failed');
  }
  deps.directory.remove(spec.id);
}

async function rebuildRecords(
  records: readonly EndpointRecord[],
  adopted: readonly DatapathEndpoint[],
  deps: RestoreDeps,
  problems: string[],
): Promise<EndpointRecord[]> {
  const known = new Set(records.map(({ spec }) => spec.id));
  const rebuilt: EndpointRecord[] = [];
  for (const endpoint of adopted.filter(({ id }) => !known.has(id))) {
    const record = await recordFromDatapath(endpoint, deps.store);
    problems.push(`endpoint ${endpoint.id} had no readable record: rebuilt from the datapath`);
    deps.log.warn(
      { endpoint: endpoint.id, identity: endpoint.identity },
      'endpoint rebuilt from the datapath',
    );
    rebuilt.push(record);
  }
  return rebuilt;
}

async function recordFromDatapath(endpoint: DatapathEndpoint, store: Store): Promise<EndpointRecord> {
  const text = (ip: Uint8Array | undefined): string | undefined => ip && formatIp(ip);
  const reserved = RESERVED_IDENTITIES.find(({ id }) => id === endpoint.identity);
  const identity = reserved ?? (await store.getIdentity(endpoint.identity));
  const spec: EndpointSpec = {
    id: endpoint.id,
    interfaceName: endpoint.ifname,
    interfaceIndex: endpoint.ifindex,
    mac: formatMac(endpoint.mac),
    hostMac: formatMac(endpoint.hostMac),
    ipv4: text(endpoint.ipv4),
    ipv6: text(endpoint.ipv6),
    ...NO_CONTAINER,
  };
  return { spec, labels: identity?.labels ?? [], options: {}, identity };
}
