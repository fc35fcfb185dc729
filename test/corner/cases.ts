/** How a case is shown: rules by both engines or the proxy alone, the BPF programs on single packets, or a whole lab. */
export type CaseKind = 'engine' | 'programs' | 'live';

export interface CornerCase {
  readonly number: number;
  readonly subject: string;
  /** Each of them has a test with the case's number. */
  readonly kinds: readonly CaseKind[];
}

/** What implementations of the policy language get wrong. `complete.test.ts` holds the tests and docs/corner-cases.md to it. */
export const CORNER_CASES: readonly CornerCase[] = [
  { number: 1, subject: 'empty, absent and all-embracing sections', kinds: ['engine'] },
  { number: 2, subject: 'empty, absent and all-embracing peers beside ports', kinds: ['engine'] },
  { number: 3, subject: 'the empty selector, namespaced and clusterwide', kinds: ['engine'] },
  { number: 4, subject: 'NotIn where the key is absent', kinds: ['engine'] },
  { number: 5, subject: 'labels of namespaces, and namespaces labelled anew', kinds: ['engine', 'live'] },
  { number: 6, subject: 'another namespace named by the subject', kinds: ['engine'] },
  { number: 7, subject: 'sources of labels in selectors', kinds: ['engine'] },
  { number: 8, subject: 'egress of the one and ingress of the other', kinds: ['engine', 'live'] },
  { number: 9, subject: 'answers in the denied direction', kinds: ['programs', 'live'] },
  {
    number: 10,
    subject: 'established flows whose rule, or whose peer, changes',
    kinds: ['programs', 'live'],
  },
  { number: 11, subject: 'the same for idle flows and UDP', kinds: ['programs', 'live'] },
  { number: 12, subject: 'ICMP errors, asked for and not', kinds: ['programs', 'live'] },
  { number: 13, subject: 'ping under rules for ports and for peers', kinds: ['engine', 'live'] },
  { number: 14, subject: 'named ports', kinds: ['engine', 'live'] },
  { number: 15, subject: 'edges of ranges, reversed ranges, denials inside', kinds: ['engine', 'live'] },
  { number: 16, subject: 'denials against more specific allowances', kinds: ['engine', 'live'] },
  { number: 17, subject: 'a prefix inside another', kinds: ['engine', 'live'] },
  { number: 18, subject: 'prefixes and the addresses of pods and nodes', kinds: ['engine', 'live'] },
  { number: 19, subject: 'exceptions beside other entries', kinds: ['engine', 'live'] },
  { number: 20, subject: 'all of IPv4 and IPv6', kinds: ['engine', 'live'] },
  { number: 21, subject: 'who is world, who is cluster', kinds: ['engine', 'live'] },
  { number: 22, subject: 'HTTP rules beside rules without', kinds: ['engine', 'live'] },
  { number: 23, subject: 'an empty HTTP rule and an empty list', kinds: ['engine', 'live'] },
  { number: 24, subject: 'whole paths, queries, methods', kinds: ['engine', 'live'] },
  { number: 25, subject: 'kept connections and pipelining', kinds: ['engine', 'live'] },
  { number: 26, subject: 'smuggled and disguised requests', kinds: ['engine', 'live'] },
  { number: 27, subject: 'names: TTL, aliases, case, search domains', kinds: ['engine', 'live'] },
  {
    number: 28,
    subject: 'a pod and its own service',
    kinds: ['programs', 'live'],
  },
  { number: 29, subject: 'a pod and its own address', kinds: ['live'] },
  { number: 30, subject: 'what runs on the network of a node', kinds: ['engine', 'live'] },
  {
    number: 31,
    subject: 'ports of the own and of another node',
    kinds: ['programs', 'live'],
  },
  {
    number: 32,
    subject: 'ports used again, opened from both ends, half closed',
    kinds: ['programs', 'live'],
  },
  {
    number: 33,
    subject: 'fragments, options, extension headers, tags, large segments',
    kinds: ['programs', 'live'],
  },
  { number: 34, subject: 'forged addresses, overlay and ARP', kinds: ['programs', 'live'] },
  { number: 35, subject: 'changes of policy under load', kinds: ['programs', 'live'] },
  { number: 36, subject: 'endpoints made amid changes, addresses given anew', kinds: ['programs', 'live'] },
  { number: 37, subject: 'policies of one name, changed subjects', kinds: ['engine', 'live'] },
  { number: 38, subject: 'a policy too large for its map', kinds: ['programs', 'live'] },
  { number: 39, subject: 'more flows than conntrack holds', kinds: ['programs', 'live'] },
  { number: 40, subject: 'an agent killed amid an update', kinds: ['live'] },
  {
    number: 41,
    subject: 'services without backends, backends removed',
    kinds: ['engine', 'programs', 'live'],
  },
  {
    number: 42,
    subject: 'UDP to services',
    kinds: ['programs', 'live'],
  },
  {
    number: 43,
    subject: 'services of both families',
    kinds: ['engine', 'programs', 'live'],
  },
  {
    number: 44,
    subject: 'SCTP, which the kernel of the tests lacks: by crafted packets',
    kinds: ['programs'],
  },
  { number: 45, subject: 'filters of labels', kinds: ['engine', 'live'] },
  { number: 46, subject: 'endpoints without labels yet', kinds: ['engine', 'live'] },
];
