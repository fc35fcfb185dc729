import { DatapathLimit, PolicyDirection, PolicyFlag } from '../model/constants.gen.ts';
import type { MapStateEntry, MapStateKey, MapStateVerdict } from '../model/map-state.ts';
import { policyEntryLayout, policyKeyLayout } from './map-layouts.ts';

/** Bits of a policy key beyond the static ones: 0, 8, or 8 and those of the port. */
function l4Bits(key: MapStateKey): number {
  return key.protocol === 0 ? 0 : 8 + key.portPrefixLength;
}

/** `struct policy_key`. */
export function encodePolicyKey(key: MapStateKey): Buffer {
  return policyKeyLayout.encode({
    prefixBits: DatapathLimit.policyStaticBits + l4Bits(key),
    identity: key.identity,
    direction: PolicyDirection[key.direction],
    protocol: key.protocol,
    port: key.port,
  });
}

export function decodePolicyKey(buffer: Uint8Array, offset = 0): MapStateKey {
  const key = policyKeyLayout.decode(buffer, offset);
  const bits = key.prefixBits - DatapathLimit.policyStaticBits;
  return {
    direction: key.direction === PolicyDirection.egress ? 'egress' : 'ingress',
    identity: key.identity,
    protocol: key.protocol,
    port: key.port,
    portPrefixLength: Math.max(0, bits - 8),
  };
}

function flagsOf(verdict: MapStateVerdict): number {
  const flags: Record<MapStateVerdict['kind'], number> = {
    allow: 0,
    deny: PolicyFlag.fDeny,
    redirect: PolicyFlag.fRedirect,
  };
  return flags[verdict.kind];
}

/** `struct policy_entry`. */
export function encodePolicyEntry(key: MapStateKey, entry: MapStateEntry): Buffer {
  return policyEntryLayout.encode({
    precedence: entry.precedence,
    proxyPort: entry.verdict.kind === 'redirect' ? entry.verdict.proxyPort : 0,
    flags: flagsOf(entry.verdict),
    l4Bits: l4Bits(key),
    ruleId: entry.ruleId,
  });
}

export function decodePolicyEntry(buffer: Uint8Array, offset = 0): MapStateEntry {
  const { precedence, proxyPort, flags, ruleId } = policyEntryLayout.decode(buffer, offset);
  const verdict: MapStateVerdict =
    (flags & PolicyFlag.fDeny) !== 0
      ? { kind: 'deny' }
      : (flags & PolicyFlag.fRedirect) !== 0
        ? { kind: 'redirect', proxyPort }
        : { kind: 'allow' };
  return { verdict, precedence, ruleId };
}
