import type { BpfMap } from '../../bpf/addon/index.ts';
import type { IpBytes } from '../base/ip.ts';
import { CtFlag, DatapathLimit } from '../model/constants.gen.ts';
import type { NumericIdentity } from '../model/identity.ts';
import { ct4KeyLayout, ct6KeyLayout, ctEntryLayout } from './map-layouts.ts';
import { fieldsOf } from './struct-layout.ts';

const BATCH = 4096;
/** Of a collection, which has other work of the event loop beside it. */
const COLLECTED_BATCH = 256;

/** One end of a flow. */
export interface FlowEnd {
  readonly address: IpBytes;
  /** Host order; of an echo 0 at the side that asks, the identifier at the other. */
  readonly port: number;
  readonly identity: NumericIdentity;
  /** Host side of the endpoint's veth; 0 when it is not local. */
  readonly ifindex: number;
  /** OR of the TCP flags it sent. */
  readonly tcpFlags: number;
  readonly closing: boolean;
}

/** A flow that policy let through. */
export interface ConntrackFlow {
  readonly protocol: number;
  /** Who opened it. */
  readonly initiator: FlowEnd;
  readonly responder: FlowEnd;
  readonly seenReply: boolean;
  /** The node itself is one end. */
  readonly host: boolean;
  /** Id of the service by which its initiator, a pod of this node, speaks to its responder; 0: none. */
  readonly service: number;
  /** Seconds until it is forgotten unless a packet comes; negative when it is past that. */
  readonly expiresInSeconds: number;
}

/** Now in conntrack's unit, and the unit's rate. */
export interface ConntrackClock {
  /** jiffies >> 8, modulo 2^32. */
  readonly ticks: number;
  readonly hz: number;
}

/** Ticks that are left to an entry; negative when it is past its lifetime. Both counters wrap at 2^32. */
function ticksLeft(entry: { readonly seen: number; readonly lifetime: number }, now: number): number {
  const age = (now - entry.seen) | 0;
  return entry.lifetime - age;
}

/** What a flow shows of its entry. */
const shownLayout = fieldsOf(ctEntryLayout, [
  'seen',
  'lifetime',
  'flags',
  'tcpFlags',
  'ifindex',
  'identity',
  'reverseNat',
]);
const shownKey4 = fieldsOf(ct4KeyLayout, ['address', 'port', 'protocol']);
const shownKey6 = fieldsOf(ct6KeyLayout, ['address', 'port', 'protocol']);

type Key = ReturnType<typeof shownKey4.decode>;
type Entry = ReturnType<typeof shownLayout.decode>;

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Every flow of a conntrack map, in the map's order. */
export function* readConntrackMap(map: BpfMap, clock: ConntrackClock): Generator<ConntrackFlow> {
  const keyLayout = map.info.keySize === shownKey4.bytes ? shownKey4 : shownKey6;
  for (const { keys, values, count } of map.batches(BATCH)) {
    const keyView = viewOf(keys);
    const valueView = viewOf(values);
    for (let i = 0; i < count; i++) {
      const key = keyLayout.decodeAt(keyView, i * keyLayout.bytes);
      yield decodeFlow(key, shownLayout.decodeAt(valueView, i * shownLayout.bytes), clock);
    }
  }
}

function decodeFlow(key: Key, entry: Entry, clock: ConntrackClock): ConntrackFlow {
  const end = (side: 0 | 1): FlowEnd => ({
    address: key.address[side],
    port: key.port[side],
    identity: entry.identity[side],
    ifindex: entry.ifindex[side],
    tcpFlags: entry.tcpFlags[side],
    closing: (entry.flags & (side === 0 ? CtFlag.closingA : CtFlag.closingB)) !== 0,
  });
  const fromB = (entry.flags & CtFlag.initB) !== 0;
  return {
    protocol: key.protocol,
    initiator: end(fromB ? 1 : 0),
    responder: end(fromB ? 0 : 1),
    seenReply: (entry.flags & CtFlag.seenReply) !== 0,
    host: (entry.flags & CtFlag.host) !== 0,
    service: entry.reverseNat,
    expiresInSeconds: (ticksLeft(entry, clock.ticks) * 2 ** DatapathLimit.jiffiesShift) / clock.hz,
  };
}

function isPast(values: Buffer, offset: number, now: number): boolean {
  const seen = values.readUInt32LE(offset);
  return ticksLeft({ seen, lifetime: values.readUInt32LE(offset + 4) }, now) < 0;
}

/**
 * Removes what is past its lifetime. The map is read on another thread, and a small batch judged in a turn of the event
 * loop. Packets may have come since it was read, so that what seems past is looked at once more.
 * @returns how many went
 */
export async function collectConntrack(map: BpfMap, nowTicks: () => number): Promise<number> {
  const keyBytes = map.info.keySize;
  let removed = 0;
  for await (const { keys, values, count } of map.batchesAsync(COLLECTED_BATCH)) {
    const now = nowTicks();
    for (let i = 0; i < count; i++) {
      if (!isPast(values, i * ctEntryLayout.bytes, now)) continue;
      const key = keys.subarray(i * keyBytes, (i + 1) * keyBytes);
      const current = map.lookup(key);
      if (current !== undefined && isPast(current, 0, now) && map.delete(key)) removed++;
    }
  }
  return removed;
}

/** jiffies >> 8 as programs write it. */
export function ticksOfJiffies(jiffies: bigint): number {
  return Number((jiffies >> BigInt(DatapathLimit.jiffiesShift)) & 0xffffffffn);
}
