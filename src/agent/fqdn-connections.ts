import { setImmediate as nextTurn } from 'node:timers/promises';
import { formatIp } from '../base/ip.ts';
import type { ConntrackFlow } from '../datapath/index.ts';
import type { Endpoint } from './endpoint.ts';
import type { ConnectionKey } from './fqdn-manager.ts';

/** Flows looked at in one turn of the event loop. */
const FLOWS_A_TURN = 2048;

/** Which of the endpoints has live connections to which addresses. */
export async function connectionsOf(
  flows: Iterable<ConntrackFlow>,
  endpoints: readonly Endpoint[],
): Promise<ReadonlySet<ConnectionKey>> {
  const byInterface = new Map(endpoints.map(({ id, spec }) => [spec.interfaceIndex, id]));
  const found = new Set<ConnectionKey>();
  let seen = 0;
  for (const { initiator, responder, expiresInSeconds } of flows) {
    if (++seen % FLOWS_A_TURN === 0) await nextTurn();
    const endpoint = byInterface.get(initiator.ifindex);
    if (endpoint === undefined || expiresInSeconds < 0 || (initiator.closing && responder.closing)) continue;
    found.add(`${endpoint} ${formatIp(responder.address)}`);
  }
  return found;
}
