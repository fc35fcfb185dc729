import type { Bpf, RingBuffer } from '../../bpf/addon/index.ts';
import type { MonitorEvent } from '../model/event.ts';
import { decodeEvent } from './event-decoder.ts';
import type { DatapathMaps } from './programs.ts';
import { indexKey } from './struct-layout.ts';

/** The reader of the ring buffer: events in batches, and how many the kernel could not write or we could not read. */
export class EventRing {
  readonly #maps: DatapathMaps;
  readonly #listener: (events: readonly MonitorEvent[]) => void;
  readonly #ring: RingBuffer;
  #lost: bigint;

  constructor(bpf: Bpf, maps: DatapathMaps, listener: (events: readonly MonitorEvent[]) => void) {
    this.#maps = maps;
    this.#listener = listener;
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
    for (const record of records) {
      const event = decodeEvent(record);
      if (event !== undefined) events.push(event);
    }
    const lost = this.#readLost();
    const count = Number(lost - this.#lost) + unread;
    if (count > 0) events.push({ kind: 'lost', source: 'ring', count });
    this.#lost = lost;
    if (events.length > 0) this.#listener(events);
  }

  close(): void {
    this.#ring.close();
  }
}
