import { closeSync } from 'node:fs';
import { formatIp } from '../../base/ip.ts';
import type { DatagramFlow, DatagramHandlers, Datagrams } from '../../base/sockets/datagrams.ts';
import type { DnsCounters } from '../../model/proxy-counters.ts';
import type { Clock } from '../types.ts';
import { answerId, type DnsAnswer, readAnswer } from './answer.ts';
import { MAX_UDP_QUERY_BYTES } from './constants.ts';
import type { DnsLimits } from './limits.ts';
import type { Exchange, QueryDesk } from './query-desk.ts';
import { flowKey, type UdpFlow, UdpFlows } from './udp-flows.ts';

export interface UdpProxyDeps {
  readonly desk: QueryDesk;
  readonly datagrams: (
    handlers: DatagramHandlers,
  ) => Pick<Datagrams, 'listen' | 'connect' | 'send' | 'reply' | 'remove' | 'close'>;
  readonly clock: Clock;
  readonly limits: DnsLimits;
  readonly counters: DnsCounters;
}

const UDP = 17;
const MS = 1_000_000;
/** So often it is looked for flows that are idle and queries without answer. */
const SWEEP_MS = 50;

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * DNS over UDP. Each client port that asks a server has a socket of its own to that server while it waits; an answer
 * counts only on that socket, with id and question of a query that waits there.
 */
export class UdpProxy {
  readonly #deps: UdpProxyDeps;
  readonly #mark: number;
  /** Of type `raw-udp`, by family. */
  readonly #replies = new Map<number, number>();
  readonly #datagrams: ReturnType<UdpProxyDeps['datagrams']>;
  readonly #flows = new UdpFlows();
  #sweeping: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param mark SO_MARK of what goes to servers */
  constructor(mark: number, deps: UdpProxyDeps) {
    this.#deps = deps;
    this.#mark = mark;
    this.#datagrams = deps.datagrams({
      onQuery: (ends, bytes) => this.#query(ends, bytes),
      onAnswer: (tag, bytes) => this.#answer(tag, bytes),
      onError: (tag, code) => this.#error(tag, code),
    });
  }

  /** Reads a bound socket; it belongs to the proxy then. @throws SystemError when it is none */
  listen(fd: number, family: 4 | 6): void {
    this.#datagrams.listen(fd, family);
  }

  /** Sends answers, in the servers' name, through a socket of type `raw-udp`; it belongs to the proxy then. */
  answerThrough(fd: number, family: 4 | 6): void {
    this.#replies.set(family, fd);
  }

  /** Sockets to servers that are open. */
  get flows(): number {
    return this.#flows.size;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#sweeping);
    for (const flow of this.#flows.all())
      for (const exchange of flow.exchanges.splice(0)) this.#deps.desk.finish(exchange);
    this.#datagrams.close();
    for (const fd of this.#replies.values()) closeSync(fd);
  }

  #reply(ends: DatagramFlow, bytes: Uint8Array): void {
    const fd = this.#replies.get(ends.family);
    // What cannot be sent now is lost, as datagrams may be; the client asks again.
    if (fd !== undefined && !this.#closed) this.#datagrams.reply(fd, ends, bytes);
  }

  #query(ends: DatagramFlow, bytes: Uint8Array): void {
    const { desk, counters } = this.#deps;
    if (bytes.length > MAX_UDP_QUERY_BYTES) {
      counters.oversizedQueries++;
      return;
    }
    const client = { address: formatIp(ends.client), port: ends.clientPort };
    const server = { address: formatIp(ends.server), port: ends.serverPort };
    const intake = desk.take(client, server, UDP, bytes);
    if (intake.kind === 'answer') this.#reply(ends, intake.bytes);
    else if (intake.kind === 'forward') this.#forward(ends, intake.exchange, bytes);
  }

  #forward(ends: DatagramFlow, exchange: Exchange, bytes: Uint8Array): void {
    const flow = this.#flowTo(ends);
    if (typeof flow === 'number') {
      this.#fail(ends, exchange, flow === 0 ? 'too many flows' : 'no socket to the server');
      return;
    }
    if (flow.exchanges.length > 0) this.#replaceRepeated(flow, exchange);
    this.#flows.use(flow, exchange.startedNs);
    flow.exchanges.push(exchange);
    if (this.#datagrams.send(flow.tag, bytes) < 0) {
      flow.exchanges.pop();
      this.#fail(ends, exchange, 'the server cannot be reached');
    }
  }

  /** A query that is sent again is passed on again, since the first may be lost, and waits in the first one's place. */
  #replaceRepeated(flow: UdpFlow, { query }: Exchange): void {
    const at = flow.exchanges.findIndex(
      (other) => other.query.id === query.id && sameBytes(other.query.question, query.question),
    );
    if (at < 0) return;
    this.#deps.counters.repeatedQueries++;
    for (const repeated of flow.exchanges.splice(at, 1)) this.#deps.desk.finish(repeated);
  }

  #fail(ends: DatagramFlow, exchange: Exchange, reason: string): void {
    const { desk, counters } = this.#deps;
    counters.unreachable++;
    this.#reply(ends, desk.fail(exchange, reason));
    desk.finish(exchange);
  }

  /** @returns the flow, 0 when there are too many, or a negative errno */
  #flowTo(ends: DatagramFlow): UdpFlow | number {
    const key = flowKey(ends);
    const known = this.#flows.find(key);
    if (known !== undefined) return known;
    if (this.#flows.size >= this.#deps.limits.udpFlows) {
      const idle = this.#flows.oldestIdle();
      if (idle === undefined) return 0;
      this.#close(idle);
    }
    const tag = this.#datagrams.connect(ends, this.#mark);
    if (tag < 0) return tag;
    const flow = { key, ends, tag, exchanges: [], usedNs: 0 };
    this.#flows.add(flow);
    this.#sweepSoon();
    return flow;
  }

  #answer(tag: number, bytes: Uint8Array): void {
    const { counters, clock } = this.#deps;
    const flow = this.#flows.ofTag(tag);
    if (flow === undefined) return;
    const found = this.#match(flow, bytes);
    if (found === undefined) {
      counters.foreignAnswers++;
      return;
    }
    if (typeof found !== 'object') return;
    flow.exchanges.splice(flow.exchanges.indexOf(found.exchange), 1);
    this.#flows.use(flow, clock.monotonicNs());
    this.#release(flow.ends, found.exchange, found.answer, bytes);
  }

  /** @returns undefined when no query with this id waits; false when one does, and it is no answer to it */
  #match(
    flow: UdpFlow,
    bytes: Uint8Array,
  ): { readonly exchange: Exchange; readonly answer: DnsAnswer } | false | undefined {
    const { counters } = this.#deps;
    const id = answerId(bytes);
    let waits = false;
    let malformed = false;
    for (const exchange of flow.exchanges) {
      if (exchange.query.id !== id) continue;
      waits = true;
      const reading = readAnswer(bytes, exchange.query);
      if (reading.kind === 'answer') return { exchange, answer: reading.answer };
      malformed ||= reading.kind === 'malformed';
    }
    if (!waits) return undefined;
    if (malformed) counters.malformedAnswers++;
    else counters.wrongQuestions++;
    return false;
  }

  #release(ends: DatagramFlow, exchange: Exchange, answer: DnsAnswer, bytes: Uint8Array): void {
    const { desk } = this.#deps;
    let held = bytes;
    const isDelivered = desk.release(exchange, answer, () => {
      this.#reply(ends, held);
      desk.finish(exchange);
    });
    // The next datagrams overwrite these bytes.
    if (!isDelivered) held = Uint8Array.from(bytes);
  }

  #error(tag: number, code: string): void {
    const flow = this.#flows.ofTag(tag);
    if (flow === undefined) return;
    for (const exchange of flow.exchanges.splice(0))
      this.#fail(flow.ends, exchange, `the server cannot be reached: ${code}`);
  }

  #close(flow: UdpFlow): void {
    this.#flows.remove(flow);
    this.#datagrams.remove(flow.tag);
  }

  #sweepSoon(): void {
    this.#sweeping ??= setTimeout(() => {
      this.#sweeping = undefined;
      this.#sweep();
      if (this.#flows.size > 0) this.#sweepSoon();
    }, SWEEP_MS);
  }

  #sweep(): void {
    const { limits, clock } = this.#deps;
    const now = clock.monotonicNs();
    // Those that are closed are taken out meanwhile, which the order of a Map allows.
    for (const flow of this.#flows.all()) {
      if (flow.exchanges.length > 0) this.#giveUpLate(flow, now);
      if (flow.exchanges.length === 0 && now - flow.usedNs > limits.udpIdleMs * MS) this.#close(flow);
    }
  }

  #giveUpLate(flow: UdpFlow, now: number): void {
    const { desk, limits, counters } = this.#deps;
    const late = flow.exchanges.filter(({ startedNs }) => now - startedNs > limits.answerTimeoutMs * MS);
    for (const exchange of late) {
      counters.timeouts++;
      flow.exchanges.splice(flow.exchanges.indexOf(exchange), 1);
      desk.recordFailure(exchange, 'the server did not answer in time');
      desk.finish(exchange);
    }
  }
}
