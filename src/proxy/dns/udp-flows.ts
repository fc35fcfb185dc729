import type { DatagramFlow } from '../../base/sockets/datagrams.ts';
import type { Exchange } from './query-desk.ts';

/** One client port and server, and the socket that speaks to the server in the client's name. */
export interface UdpFlow {
  readonly key: string;
  readonly ends: DatagramFlow;
  readonly tag: number;
  /** That wait for the server. */
  readonly exchanges: Exchange[];
  /** Monotonic time of the last query or answer. */
  usedNs: number;
}

const text = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');

/** Two flows share it exactly when all four numbers are the same. */
export function flowKey({ family, client, clientPort, server, serverPort }: DatagramFlow): string {
  return `${family}${text(client)}${text(server)}${clientPort}:${serverPort}`;
}

/** The flows of a proxy, in the order of their last use. */
export class UdpFlows {
  readonly #byKey = new Map<string, UdpFlow>();
  readonly #byTag = new Map<number, UdpFlow>();
  /** The one used last, which is the last in order. */
  #last: UdpFlow | undefined;

  get size(): number {
    return this.#byKey.size;
  }

  find(key: string): UdpFlow | undefined {
    return this.#byKey.get(key);
  }

  ofTag(tag: number): UdpFlow | undefined {
    return this.#byTag.get(tag);
  }

  /** Adds a flow that is used now. */
  add(flow: UdpFlow): void {
    this.#byKey.set(flow.key, flow);
    this.#byTag.set(flow.tag, flow);
    this.#last = flow;
  }

  use(flow: UdpFlow, nowNs: number): void {
    flow.usedNs = nowNs;
    if (flow === this.#last) return;
    this.#last = flow;
    this.#byKey.delete(flow.key);
    this.#byKey.set(flow.key, flow);
  }

  remove(flow: UdpFlow): void {
    this.#byKey.delete(flow.key);
    this.#byTag.delete(flow.tag);
    if (flow === this.#last) this.#last = undefined;
  }

  /** The one used longest ago of those that wait for nothing, looked for among the first of all. */
  oldestIdle(): UdpFlow | undefined {
    let looked = 0;
    for (const flow of this.#byKey.values()) {
      if (flow.exchanges.length === 0) return flow;
      if (++looked > 64) return undefined;
    }
    return undefined;
  }

  /** Longest unused first. */
  all(): Iterable<UdpFlow> {
    return this.#byKey.values();
  }
}
