import type { Logger } from '../base/log.ts';
import type { NodePaths } from '../base/paths.ts';
import { dialFrom, loadSockets } from '../base/sockets/index.ts';
import { type FlowLookup, openFlowLookup } from '../datapath/index.ts';
import { PROXY_MARK, type ProxyDescriptors } from '../model/proxy-protocol.ts';
import { createDnsPart, createProxy, type FlowOf, type L7Proxy } from '../proxy/index.ts';

export interface ProxyProcessOptions extends ProxyDescriptors {
  readonly paths: NodePaths;
  /** Told to the agent. */
  readonly version: string;
  readonly log: Logger;
}

/** Who is speaking, as the datapath judged the flow; nobody where it was not the client that opened it. */
function flowsOf(lookup: FlowLookup | undefined): FlowOf {
  return (client, server, protocol) => {
    const flow = lookup?.find(client, server, protocol);
    if (flow === undefined || !flow.opensAsAsked) return undefined;
    return { client: flow.client.identity, server: flow.server.identity };
  };
}

/**
 * Builds the L7 proxy of a node from its parts, around the descriptors that this process inherited.
 * @throws SystemError when an addon is missing, BpfError when a descriptor is of no map
 */
export function createProxyProcess({
  paths,
  version,
  listeners,
  conntrack,
  log,
}: ProxyProcessOptions): L7Proxy {
  const sockets = loadSockets();
  const lookup = conntrack === undefined ? undefined : openFlowLookup(conntrack);
  return createProxy(
    { socketPath: paths.proxySocket, version, listeners },
    {
      flowOf: flowsOf(lookup),
      dial: (from, to) => dialFrom(sockets, { from, to, mark: PROXY_MARK }),
      log,
      parts: [(host) => createDnsPart({ mark: PROXY_MARK }, host)],
    },
  );
}
