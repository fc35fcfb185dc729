import type { Logger } from '../base/log.ts';
import type { NodePaths } from '../base/paths.ts';
import { type DialOptions, dialFrom, loadSockets } from '../base/sockets/index.ts';
import { Streams } from '../base/sockets/streams.ts';
import { type FlowAddress, type FlowLookup, openFlowLookup } from '../datapath/index.ts';
import { ReservedIdentity } from '../model/identity.ts';
import { Protocol } from '../model/map-state.ts';
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
    const { client: from, server: to, holds } = flow;
    const local = { client: from.local, server: to.local };
    return { client: from.identity, server: to.identity, local, holds };
  };
}

/**
 * Where the connection to the server comes from: the client, but where the node itself is an end. Its own sockets, in
 * this namespace, have the same addresses and ports already.
 */
export function sourceOf(
  lookup: FlowLookup | undefined,
  client: FlowAddress,
  server: FlowAddress,
): FlowAddress | undefined {
  const flow = lookup?.find(client, server, Protocol.tcp);
  if (flow?.server.identity === ReservedIdentity.host) return undefined;
  return flow?.client.identity === ReservedIdentity.host ? { address: client.address, port: 0 } : client;
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
  const streams = new Streams();
  const dialOptions = (client: FlowAddress, server: FlowAddress): DialOptions => ({
    from: sourceOf(lookup, client, server),
    to: server,
    mark: PROXY_MARK,
  });
  return createProxy(
    { socketPath: paths.proxySocket, version, listeners },
    {
      flowOf: flowsOf(lookup),
      dial: (client, server) => dialFrom(sockets, dialOptions(client, server)),
      dialStream: (client, server) => streams.dialFrom(sockets, dialOptions(client, server)),
      log,
      parts: [(host) => createDnsPart({ mark: PROXY_MARK }, host)],
    },
  );
}
