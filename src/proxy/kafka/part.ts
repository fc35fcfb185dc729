import { listenBySockets } from '../listening.ts';
import type { ProxyHost, ProxyPart } from '../part.ts';
import { TcpAcceptor } from '../tcp-acceptor.ts';
import { KafkaConnection } from './connection.ts';

/** The part of the proxy that judges Kafka. */
export function createKafkaPart(
  { maxConnections }: { readonly maxConnections: number },
  host: ProxyHost,
): ProxyPart {
  const acceptor = new TcpAcceptor({
    ...{ maxConnections, clock: host.clock, log: host.log, listenOn: listenBySockets },
    hold: (accepted) => new KafkaConnection(accepted, host),
  });
  return { kind: 'kafka', listen: (listener) => acceptor.listen(listener), stop: () => acceptor.stop() };
}
