import type { Bpf, RingBuffer } from '../../bpf/addon/index.ts';
import type { MonitorEvent } from '../model/event.ts';
import { decodeEvent } from './event-decoder.ts';
import type { DatapathMaps } from './programs.ts';
import { indexKey } from './struct-layout.ts';
import type { EventTaker } from './types.ts';

/** The reader of the ring buffer: events in batches, and how many the kernel could not write or we could not read. */
export class EventRing {
  readonly #maps: DatapathMaps;
  readonly #taker: EventTaker;
  readonly #ring: RingBuffer;
  #lost: bigint;

  constructor(bpf: Bpf, maps: DatapathMaps, taker: EventTaker) {
    this.#maps = maps;
    this.#taker = taker;
    this.#lost = this.#readLost();
    this.#ring = bpf.openRingBuffer(maps.events, (records, lost) => this.#deliver(records, lost));
  }

  #readLost(): bigint {
    const value = this.#maps.lost.lookup(indexKey(0));
    let sum = 0n;
    for (let at = 0; value !== undefined && at + 8 <= value.length; at += 8) sum += value.readBigUInt64LE(at);
    return sum;
  }

  /** @param unread records that the reader had no memory for */
  #deliver(records: readonly Buffer[], unread: number): void {
    const events: MonitorEvent[] = [];
    const drops = this.#taker.wantsDrops();
    for (const record of records) {
      const event = decodeEvent(record, drops);
      if (event !== undefined) events.push(event);
    }
    const lost = this.#readLost();
    const count = Number(lost - this.#lost) + unread;
    if (count > 0) events.push({ kind: 'lost', source: 'ring', count });
    this.#lost = lost;
    if (events.length > 0) this.#taker.take(events);
  }

  close(): void {
    this.#ring.close();
  }
}
