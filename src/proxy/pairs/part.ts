import { listenBySockets } from '../listening.ts';
import type { ProxyHost, ProxyPart } from '../part.ts';
import { TcpAcceptor } from '../tcp-acceptor.ts';
import { cassandra } from './cassandra.ts';
import { PairConnection, type SpokenProtocol } from './connection.ts';
import { PairJudge } from './judge.ts';
import { memcache } from './memcache.ts';
import { r2d2 } from './r2d2.ts';

function createPart<R>(protocol: SpokenProtocol<R>, maxConnections: number, host: ProxyHost): ProxyPart {
  const judge = new PairJudge(protocol, (problem) =>
    host.log.warn({ protocol: protocol.kind, problem }, 'rule cannot be used and allows nothing'),
  );
  const acceptor = new TcpAcceptor({
    ...{ maxConnections, clock: host.clock, log: host.log, listenOn: listenBySockets },
    hold: (accepted) => new PairConnection(accepted, { host, protocol, judge }),
  });
  return {
    kind: protocol.kind,
    listen: (listener) => acceptor.listen(listener),
    stop: () => acceptor.stop(),
  };
}

/** The parts of the proxy that judge the protocols of `l7proto`. */
export function createPairParts(
  { maxConnections }: { readonly maxConnections: number },
  host: ProxyHost,
): readonly ProxyPart[] {
  return [
    createPart(cassandra, maxConnections, host),
    createPart(memcache, maxConnections, host),
    createPart(r2d2, maxConnections, host),
  ];
}
