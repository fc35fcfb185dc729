import { formatIp } from '../../src/base/ip.ts';
import { Event, EventCode } from './constants.ts';
import type { EngineEvent } from './types.ts';

const EVENTS_AT_ONCE = 1024;
const EVENT_KINDS: Readonly<Record<number, EngineEvent['kind']>> = {
  [EventCode.suspect]: 'suspect',
  [EventCode.silent]: 'silent',
  [EventCode.answer]: 'answer',
  [EventCode.error]: 'error',
};

/** Reads what the thread tells. */
export class EventReader {
  readonly #words = new Uint32Array(EVENTS_AT_ONCE * Event.words);
  readonly #times = new BigUint64Array(this.#words.buffer);

  /**
   * @param fill writes events of `struct engine_event`, as many as there is room for, and returns how many
   * @param isCurrent whether the path is open, in that use of its index: events of earlier uses are left out
   * @returns `isFull`: more may wait
   */
  take(
    fill: (buffer: Uint32Array) => number,
    isCurrent: (path: number, generation: number) => boolean,
  ): { readonly events: readonly EngineEvent[]; readonly isFull: boolean } {
    const count = fill(this.#words);
    const events: EngineEvent[] = [];
    for (let at = 0; at < count * Event.words; at += Event.words) {
      const path = this.#words[at + Event.path] ?? 0;
      if (!isCurrent(path, this.#words[at + Event.generation] ?? 0)) continue;
      const event = this.#eventAt(at, path);
      if (event !== undefined) events.push(event);
    }
    return { events, isFull: count === EVENTS_AT_ONCE };
  }

  /** Undefined: of a kind that is not known here. */
  #eventAt(at: number, path: number): EngineEvent | undefined {
    const words = this.#words.subarray(at, at + Event.words);
    const kind = EVENT_KINDS[words[Event.kind] ?? 0];
    if (kind === undefined) return undefined;
    const family = words[Event.offenderFamily] ?? 0;
    const offender = new Uint8Array(
      words.buffer,
      words.byteOffset + Event.offender * 4,
      family === 4 ? 4 : 16,
    );
    return {
      kind,
      path,
      atNs: Number(this.#times[at / 2]),
      errno: kind === 'error' ? words[Event.error] : undefined,
      offender: family === 0 ? undefined : formatIp(offender),
      mtu: words[Event.mtu] ?? 0,
    };
  }
}
