import { peersCover } from './coverage.ts';
import type { PortRule, PortSpec, RuleItem } from './rule.ts';

/** Two kinds of requests that are asked for on one port. */
export interface L7Clash {
  readonly kind: string;
  readonly otherKind: string;
  readonly port: number;
}

const lastOf = ({ port, endPort }: PortSpec): number => endPort ?? Number(port);

/** TCP: over UDP there is only DNS, which does not contradict itself. */
const isTcp = ({ protocol }: PortSpec): boolean => protocol === 'TCP' || protocol === 'ANY';

/** A port of TCP that both have by number; those by name may be none. */
function sharedPort(a: PortSpec, b: PortSpec): number | undefined {
  if (typeof a.port === 'string' || typeof b.port === 'string') return undefined;
  if (!isTcp(a) || !isTcp(b)) return undefined;
  const first = Math.max(a.port, b.port);
  return first <= Math.min(lastOf(a), lastOf(b)) ? first : undefined;
}

/** Names of TLS servers give way to other kinds. */
const kindOf = ({ l7 }: PortRule): string | undefined => l7?.kind;

/** Where the items ask for two kinds of requests of the peers of `narrow`: no parser can judge both. */
export function l7Clash(wide: RuleItem, narrow: RuleItem): L7Clash | undefined {
  for (const other of wide.ports ?? [])
    for (const one of narrow.ports ?? []) {
      const [kind, otherKind] = [kindOf(one), kindOf(other)];
      if (kind === undefined || otherKind === undefined || kind === otherKind) continue;
      for (const a of one.ports)
        for (const b of other.ports) {
          const port = sharedPort(a, b);
          if (port !== undefined && peersCover(wide, narrow)) return { kind, otherKind, port };
        }
    }
  return undefined;
}
