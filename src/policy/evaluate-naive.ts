import type { Identity } from '../model/identity.ts';
import type { L7Rules } from '../model/l7.ts';
import type { Direction } from '../model/map-state.ts';
import type { NamedPort } from '../model/named-port.ts';
import { DROP_POLICY, DROP_POLICY_DENY } from './evaluate-map-state.ts';
import {
  icmpHolds,
  l7KindOf,
  l7Speaks,
  type NaivePeer,
  type NaivePort,
  type NaiveWorld,
  peerHolds,
  portHolds,
  portsMeant,
  selectorHolds,
  selectsLabels,
} from './naive-match.ts';
import type { EnforcementMode } from './resolve.ts';
import type { PortRule, Rule, RuleItem } from './rule.ts';

/*
 * The policy, rule by rule, as its definition reads. It shares no code with the compiled form on purpose: tests hold
 * one against the other.
 *
 * For a subject and a direction, take all rules with items of that direction whose selector picks the subject.
 * 1. An item that denies matches peer, protocol and port: deny, 181.
 * 2. The peer fails what an item requires of all peers: deny, 133.
 * 3. Items that allow match: allow; redirect if one of them has L7 rules. Then a request passes if one of them, or what
 *    follows here, lets it through.
 * 4. The peer is the node itself, the direction ingress, and localhost is always allowed: allow.
 * 5. A rule denies by default, or the mode or the label reserved:init does: deny, 133.
 * 6. Otherwise: allow.
 */

export interface NaiveOptions extends NaiveWorld {
  readonly mode: EnforcementMode;
  readonly allowLocalhost: 'always' | 'policy';
  /** The named ports of the whole cluster, for egress; default none. */
  readonly clusterPorts?: readonly NamedPort[] | undefined;
}

export interface NaiveQuery {
  readonly subject: Identity;
  /** Named ports of the subject's endpoint, for ingress; default none. */
  readonly namedPorts?: readonly NamedPort[] | undefined;
  /** Identity 0 for a peer that is not known. */
  readonly peer: Identity;
  /** Of a peer outside the cluster, see `NaivePeer`. */
  readonly peerAddress?: NaivePeer['address'];
  readonly peerNames?: NaivePeer['names'];
  readonly direction: Direction;
  readonly protocol: number;
  /** Destination port, host order; of ICMP the type. */
  readonly port: number;
}

export type NaiveVerdict =
  | { readonly kind: 'allow' }
  /** `DROP_POLICY` or `DROP_POLICY_DENY`. */
  | { readonly kind: 'deny'; readonly reason: number }
  /** Through the proxy that judges requests of this kind; `tls` where only server names are asked for. */
  | {
      readonly kind: 'redirect';
      readonly l7: string;
      /** What lets requests through; undefined lets every request through. */
      readonly requests: readonly (L7Rules | undefined)[];
    };

const DENY_SECTION = { ingress: 'ingressDeny', egress: 'egressDeny' } as const;

function selectsSubject(rule: Rule, { labels }: Identity): boolean {
  const isHost = labels.some(({ source, key }) => source === 'reserved' && key === 'host');
  return isHost === (rule.subjectKind === 'node') && selectsLabels(rule.subject, labels);
}

function hasSection(rule: Rule, direction: Direction): boolean {
  return (rule[direction]?.length ?? 0) > 0 || (rule[DENY_SECTION[direction]]?.length ?? 0) > 0;
}

/** The port rules by which an item matches; undefined when it does not. Empty: it names no ports. */
function matching(
  item: RuleItem,
  peer: NaivePeer,
  port: NaivePort,
  world: NaiveWorld,
): readonly PortRule[] | undefined {
  if (!peerHolds(item, peer, world)) return undefined;
  if (item.icmps !== undefined) return item.icmps.some((icmp) => icmpHolds(icmp, port)) ? [] : undefined;
  if (item.ports === undefined) return [];
  const rules = item.ports.filter((rule) => portHolds(rule, port));
  return rules.length === 0 ? undefined : rules;
}

function requirementsHold(items: readonly RuleItem[], peer: NaivePeer): boolean {
  return items.every(({ requires }) => (requires ?? []).every((selector) => selectorHolds(selector, peer)));
}

function deniesByDefault(rules: readonly Rule[], options: NaiveOptions, query: NaiveQuery): boolean {
  const init = query.subject.labels.some(({ source, key }) => source === 'reserved' && key === 'init');
  if (options.mode === 'always' || init) return true;
  return rules.some((rule) => rule.enableDefaultDeny?.[query.direction] !== false);
}

/** Whether a new flow is allowed, read off the rules one by one; for rules that do not contradict each other. */
export function evaluateNaive(
  rules: readonly Rule[],
  options: NaiveOptions,
  query: NaiveQuery,
): NaiveVerdict {
  if (options.mode === 'never') return { kind: 'allow' };
  const { direction, protocol, port, subject } = query;
  const selecting = rules.filter((rule) => selectsSubject(rule, subject) && hasSection(rule, direction));
  const peer = { identity: query.peer, address: query.peerAddress, names: query.peerNames };
  const names = (direction === 'ingress' ? query.namedPorts : options.clusterPorts) ?? [];
  const match = (item: RuleItem): readonly PortRule[] | undefined =>
    matching(item, peer, { protocol, port, names }, options);
  const denying = selecting.flatMap((rule) => rule[DENY_SECTION[direction]] ?? []);
  if (denying.some((item) => match(item) !== undefined)) return { kind: 'deny', reason: DROP_POLICY_DENY };
  const items = selecting.flatMap((rule) => rule[direction] ?? []);
  if (!requirementsHold(items, peer)) return { kind: 'deny', reason: DROP_POLICY };
  const fromHost = query.peer.labels.some(({ source, key }) => source === 'reserved' && key === 'host');
  const localhost = direction === 'ingress' && fromHost && options.allowLocalhost === 'always';
  const passes = localhost || !deniesByDefault(selecting, options, query);
  const kinds = items.flatMap((item) => (match(item) ?? []).flatMap((rule) => l7KindOf(rule) ?? []));
  const l7 = kinds.find((name) => name !== 'tls') ?? kinds[0];
  if (l7 !== undefined) {
    const requests = selecting.flatMap((rule) => requestsOf(rule, direction, match));
    return { kind: 'redirect', l7, requests: passes ? [...requests, undefined] : requests };
  }
  if (passes || items.some((item) => match(item) !== undefined)) return { kind: 'allow' };
  return { kind: 'deny', reason: DROP_POLICY };
}

/** What a rule lets through of the requests of a flow that it allows. Without default deny it stops none. */
function requestsOf(
  rule: Rule,
  direction: Direction,
  match: (item: RuleItem) => readonly PortRule[] | undefined,
): readonly (L7Rules | undefined)[] {
  const open = rule.enableDefaultDeny?.[direction] === false;
  return (rule[direction] ?? []).flatMap((item) => {
    const ports = match(item);
    if (ports === undefined) return [];
    if (ports.length === 0) return [undefined];
    return ports.flatMap((port) => {
      const l7: L7Rules | undefined =
        l7KindOf(port) === 'tls' ? { kind: 'tls', rules: port.serverNames ?? [] } : port.l7;
      return open ? [l7, undefined] : [l7];
    });
  });
}

interface Judged {
  readonly kind: string;
  readonly protocol: number;
  readonly range: readonly [number, number];
}

function judgedPorts(items: readonly RuleItem[], names: readonly NamedPort[]): Judged[] {
  return items.flatMap(({ ports }) =>
    (ports ?? []).flatMap((rule) => {
      const kind = l7KindOf(rule);
      if (kind === undefined || kind === 'tls') return [];
      return [6, 17].flatMap((protocol) =>
        l7Speaks(kind, protocol)
          ? rule.ports.flatMap((spec) => {
              const range = portsMeant(spec, protocol, names);
              return range === undefined ? [] : [{ kind, protocol, range }];
            })
          : [],
      );
    }),
  );
}

function contradict(all: readonly Judged[]): boolean {
  return all.some((a) =>
    all.some(
      (b) =>
        a.kind !== b.kind &&
        a.protocol === b.protocol &&
        a.range[0] <= b.range[1] &&
        b.range[0] <= a.range[1],
    ),
  );
}

/** Whether two rules ask for different kinds of requests on one port, for one of these peers: then nothing may pass. */
export function contradictsNaive(
  rules: readonly Rule[],
  options: NaiveOptions,
  query: Pick<NaiveQuery, 'subject' | 'namedPorts'>,
  peers: readonly NaivePeer[],
): boolean {
  if (options.mode === 'never') return false;
  const selecting = rules.filter((rule) => selectsSubject(rule, query.subject));
  return (['ingress', 'egress'] as const).some((direction) => {
    const items = selecting.flatMap((rule) => rule[direction] ?? []);
    const names = (direction === 'ingress' ? query.namedPorts : options.clusterPorts) ?? [];
    return peers.some((peer) => {
      if (!requirementsHold(items, peer)) return false;
      return contradict(
        judgedPorts(
          items.filter((item) => peerHolds(item, peer, options)),
          names,
        ),
      );
    });
  });
}
