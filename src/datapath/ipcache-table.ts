import type { BpfMap } from '../../bpf/addon/index.ts';
import { type Cidr, formatCidr } from '../base/ip.ts';
import { IpcacheFlag, ProgramIdentity } from '../model/constants.gen.ts';
import { decodeIpcache, encodeIpcacheEntry, encodeIpcacheKey } from './address-codec.ts';
import { type EpochMaps, moveEpoch, REMOTE_SLOT } from './epochs.ts';
import type { IpcacheEntry } from './types.ts';

const BATCH = 2048;

function rangeEntry(prefix: Cidr): IpcacheEntry {
  return { prefix, identity: ProgramIdentity.unknown, tunnelEndpoint: undefined };
}

/** Every entry of an ipcache map with its flags. */
export function* readIpcacheMap(
  map: BpfMap,
): Generator<{ readonly entry: IpcacheEntry; readonly flags: number }> {
  for (const { keys, values, count } of map.batches(BATCH)) {
    for (let i = 0; i < count; i++) yield decodeIpcache(keys, values, i);
  }
}

/**
 * Prefix -> identity in the kernel. The ranges of endpoints lie in it too, with identity 0; they are ours and no
 * caller sees them. Every change voids the cached verdicts about remote peers.
 */
export class IpcacheTable {
  readonly #map: BpfMap;
  readonly #epochs: EpochMaps;
  #ranges = new Map<string, Cidr>();

  constructor(map: BpfMap, epochs: EpochMaps) {
    this.#map = map;
    this.#epochs = epochs;
  }

  start(ranges: readonly Cidr[]): void {
    this.#ranges = new Map(ranges.map((prefix) => [formatCidr(prefix), prefix]));
    const stale: Cidr[] = [];
    const taken = new Set<string>();
    for (const { entry, flags } of readIpcacheMap(this.#map)) {
      if ((flags & IpcacheFlag.fRange) === 0) taken.add(formatCidr(entry.prefix));
      else if (!this.#ranges.has(formatCidr(entry.prefix))) stale.push(entry.prefix);
    }
    for (const [text, prefix] of this.#ranges) if (!taken.has(text)) this.#writeRange(prefix);
    for (const prefix of stale) this.#map.delete(encodeIpcacheKey(prefix));
    moveEpoch(this.#epochs, REMOTE_SLOT);
  }

  #writeRange(prefix: Cidr): void {
    this.#map.update(encodeIpcacheKey(prefix), encodeIpcacheEntry(rangeEntry(prefix), IpcacheFlag.fRange));
  }

  async upsert(entries: readonly IpcacheEntry[]): Promise<void> {
    try {
      for (let at = 0; at < entries.length; at += BATCH) {
        if (at > 0) await new Promise((resolve) => setImmediate(resolve));
        const part = entries.slice(at, at + BATCH);
        const keys = Buffer.concat(part.map(({ prefix }) => encodeIpcacheKey(prefix)));
        this.#map.updateBatch(
          keys,
          Buffer.concat(part.map((entry) => encodeIpcacheEntry(entry))),
          part.length,
        );
      }
    } finally {
      if (entries.length > 0) moveEpoch(this.#epochs, REMOTE_SLOT);
    }
  }

  /** A prefix that is also a range of endpoints becomes that again. Missing ones are no error. */
  delete(prefixes: readonly Cidr[]): void {
    for (const prefix of prefixes) {
      const range = this.#ranges.get(formatCidr(prefix));
      if (range === undefined) this.#map.delete(encodeIpcacheKey(prefix));
      else this.#writeRange(range);
    }
    if (prefixes.length > 0) moveEpoch(this.#epochs, REMOTE_SLOT);
  }

  read(): readonly IpcacheEntry[] {
    return [...readIpcacheMap(this.#map)]
      .filter(({ flags }) => (flags & IpcacheFlag.fRange) === 0)
      .map(({ entry }) => entry);
  }
}
