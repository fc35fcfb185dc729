import { Streams, type TcpStream } from '../../base/sockets/streams.ts';
import { listenByStreams } from '../listening.ts';
import type { ProxyHost, ProxyPart } from '../part.ts';
import { type Accepted, type Held, TcpAcceptor } from '../tcp-acceptor.ts';
import { Answers } from './answers.ts';
import { HttpConnection, type HttpContext } from './connection.ts';
import { HttpFlow } from './flow.ts';
import { Http2Connection } from './http2-connection.ts';
import { HttpJudge } from './judge.ts';
import type { HttpLimits } from './limits.ts';
import { Opening } from './opening.ts';
import { HttpRecords } from './records.ts';

/** A connection that becomes one of HTTP/1 or HTTP/2 with its first bytes. */
class UndecidedConnection implements Held {
  #held: Held;

  constructor({ socket }: Accepted<TcpStream>, flow: HttpFlow, context: HttpContext) {
    this.#held = new Opening(socket, context.limits, context.clock.monotonicNs(), (kind, bytes) => {
      if (kind === 'http2') this.#held = new Http2Connection(socket.detach(), bytes, flow, context);
      else {
        const connection = new HttpConnection(socket, flow, context);
        this.#held = connection;
        connection.begin(bytes);
      }
    });
  }

  check(nowNs: number): void {
    this.#held.check(nowNs);
  }

  destroy(): void {
    this.#held.destroy();
  }
}

export interface HttpPartOptions {
  readonly limits: HttpLimits;
  readonly maxConnections: number;
}

/** The part of the proxy that judges HTTP. */
export function createHttpPart({ limits, maxConnections }: HttpPartOptions, host: ProxyHost): ProxyPart {
  const { clock, log } = host;
  const context: HttpContext = {
    limits,
    clock,
    answers: new Answers(clock),
    records: new HttpRecords(clock, host.record),
  };
  const judge = new HttpJudge(
    (problem) => log.error({ problem }, 'rule that cannot be used allows nothing'),
    () => clock.monotonicNs(),
  );
  const flowDeps = { ...host, holder: host.policy, judge };
  const acceptor = new TcpAcceptor({
    ...{ maxConnections, clock, log, listenOn: listenByStreams(new Streams()) },
    hold: (accepted) => new UndecidedConnection(accepted, new HttpFlow(flowDeps, accepted), context),
  });
  return { kind: 'http', listen: (listener) => acceptor.listen(listener), stop: () => acceptor.stop() };
}
