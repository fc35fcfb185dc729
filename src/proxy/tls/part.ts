import { listenBySockets } from '../listening.ts';
import type { ProxyHost, ProxyPart } from '../part.ts';
import { TcpAcceptor } from '../tcp-acceptor.ts';
import { TlsConnection } from './connection.ts';
import { TlsJudge } from './judge.ts';

/** The part of the proxy that judges connections by the server that their TLS asks for. */
export function createTlsPart(
  { maxConnections }: { readonly maxConnections: number },
  host: ProxyHost,
): ProxyPart {
  const judge = new TlsJudge();
  const acceptor = new TcpAcceptor({
    ...{ maxConnections, clock: host.clock, log: host.log, listenOn: listenBySockets },
    hold: (accepted) => new TlsConnection(accepted, { host, judge }),
  });
  return { kind: 'tls', listen: (listener) => acceptor.listen(listener), stop: () => acceptor.stop() };
}
