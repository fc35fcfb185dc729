import { DatapathLimit, EventKind, PolicyDirection } from '../model/constants.gen.ts';
import type { MonitorEvent } from '../model/event.ts';
import type { Direction } from '../model/map-state.ts';
import { eventLayout } from './map-layouts.ts';
import { dissectPacket } from './packet-dissector.ts';

type RawEvent = ReturnType<typeof eventLayout.decode>;

function directionOf(raw: RawEvent): Direction {
  return raw.direction === PolicyDirection.egress ? 'egress' : 'ingress';
}

function packetPart(raw: RawEvent) {
  const packet = raw.packet.subarray(0, Math.min(raw.captureLength, raw.packet.length));
  return {
    monotonicNs: raw.monotonicNs.toString(),
    cpu: raw.cpu,
    source: raw.source,
    hash: raw.hash,
    srcIdentity: raw.sourceIdentity,
    dstIdentity: raw.destinationIdentity,
    dstEndpoint: raw.destination,
    ifindex: raw.ifindex,
    lengthBytes: raw.length,
    summary: dissectPacket(packet),
    capture: Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength).toString('hex'),
  };
}

/** One record of the ring buffer (`struct event`). @returns undefined for a version or kind that we do not know */
export function decodeEvent(record: Uint8Array): MonitorEvent | undefined {
  if (record.length < eventLayout.bytes) return undefined;
  const raw = eventLayout.decode(record);
  if (raw.version !== DatapathLimit.eventVersion) return undefined;
  switch (raw.kind) {
    case EventKind.drop:
      return { kind: 'drop', reason: raw.subtype, direction: directionOf(raw), ...packetPart(raw) };
    case EventKind.trace:
      return { kind: 'trace', observationPoint: raw.subtype, state: raw.ctState, ...packetPart(raw) };
    case EventKind.policyVerdict:
      return {
        kind: 'policy-verdict',
        direction: directionOf(raw),
        remoteIdentity: raw.remoteIdentity,
        verdict: raw.verdict,
        match: raw.match,
        protocol: raw.protocol,
        destinationPort: raw.destinationPort,
        ruleId: raw.ruleId,
        ...(raw.subtype === 1 && { audited: true }),
        ...packetPart(raw),
      };
    default:
      return undefined;
  }
}
