import { DatapathLimit, EventKind, PolicyDirection } from '../model/constants.gen.ts';
import type { MonitorEvent } from '../model/event.ts';
import type { Direction } from '../model/map-state.ts';
import { eventLayout } from './map-layouts.ts';
import { dissectPacket } from './packet-dissector.ts';

/** Where the fields lie. Read one by one: events come by ten thousands a second, and no kind needs all of them. */
const at = eventLayout.fields;

function directionOf(view: DataView): Direction {
  const direction = at.direction[1].read(view, at.direction[0]);
  return direction === PolicyDirection.egress ? 'egress' : 'ingress';
}

function packetPart(record: Uint8Array, view: DataView) {
  const [start, room] = [at.packet[0], at.packet[1].bytes];
  const captured = Math.min(at.captureLength[1].read(view, at.captureLength[0]), room);
  const packet = Buffer.from(record.buffer, record.byteOffset + start, captured);
  return {
    monotonicNs: at.monotonicNs[1].read(view, at.monotonicNs[0]).toString(),
    cpu: at.cpu[1].read(view, at.cpu[0]),
    source: at.source[1].read(view, at.source[0]),
    hash: at.hash[1].read(view, at.hash[0]),
    srcIdentity: at.sourceIdentity[1].read(view, at.sourceIdentity[0]),
    dstIdentity: at.destinationIdentity[1].read(view, at.destinationIdentity[0]),
    dstEndpoint: at.destination[1].read(view, at.destination[0]),
    ifindex: at.ifindex[1].read(view, at.ifindex[0]),
    lengthBytes: at.length[1].read(view, at.length[0]),
    summary: dissectPacket(packet),
    capture: packet.toString('hex'),
  };
}

/**
 * One record of the ring buffer (`struct event`).
 * @param drops whether drops are wanted
 * @returns undefined for one that is not wanted, and for a version or kind that we do not know
 */
export function decodeEvent(record: Uint8Array, drops = true): MonitorEvent | undefined {
  if (record.length < eventLayout.bytes) return undefined;
  const view = new DataView(record.buffer, record.byteOffset, eventLayout.bytes);
  if (at.version[1].read(view, at.version[0]) !== DatapathLimit.eventVersion) return undefined;
  const subtype = at.subtype[1].read(view, at.subtype[0]);
  switch (at.kind[1].read(view, at.kind[0])) {
    case EventKind.drop:
      if (!drops) return undefined;
      return {
        kind: 'drop',
        reason: subtype,
        direction: directionOf(view),
        ...packetPart(record, view),
      };
    case EventKind.trace:
      return {
        kind: 'trace',
        observationPoint: subtype,
        state: at.ctState[1].read(view, at.ctState[0]),
        protocol: at.protocol[1].read(view, at.protocol[0]),
        destinationPort: at.destinationPort[1].read(view, at.destinationPort[0]),
        ...packetPart(record, view),
      };
    case EventKind.policyVerdict:
      return {
        kind: 'policy-verdict',
        direction: directionOf(view),
        remoteIdentity: at.remoteIdentity[1].read(view, at.remoteIdentity[0]),
        verdict: at.verdict[1].read(view, at.verdict[0]),
        match: at.match[1].read(view, at.match[0]),
        protocol: at.protocol[1].read(view, at.protocol[0]),
        destinationPort: at.destinationPort[1].read(view, at.destinationPort[0]),
        ruleId: at.ruleId[1].read(view, at.ruleId[0]),
        ...(subtype === 1 && { audited: true }),
        ...packetPart(record, view),
      };
    default:
      return undefined;
  }
}
