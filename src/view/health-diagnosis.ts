import type { FaultKind, FaultPlace, HealthVerdict, LossPoint } from '../model/health.ts';
import { shellWord } from './shell-word.ts';

/** One verdict for people. */
export interface VerdictText {
  /** One plain sentence: what is broken, and where. */
  readonly what: string;
  /** What else is known of it: where packets were seen last, over which family. */
  readonly details: readonly string[];
  /** What to look at next: commands, and what to look for in them. */
  readonly next: readonly string[];
}

/** What the text reads of a verdict. */
export type VerdictView = Pick<HealthVerdict, 'fault' | 'place' | 'kinds' | 'families' | 'lossPoint'>;

type Sentence = (place: FaultPlace, kinds: readonly string[]) => string;

/** `node` as `n1`, ways as `from n1 to n2`: what the other texts are made of. */
function ofPlace(place: FaultPlace): string {
  switch (place.kind) {
    case 'node':
      return `node ${place.node}`;
    case 'observer':
      return `what node ${place.node} sees of the others`;
    case 'pair':
      return `the way from ${place.from} to ${place.to}`;
    case 'zone':
      return `zone ${place.zone}`;
    case 'zone-pair':
      return place.from === place.to
        ? `the ways within zone ${place.from}`
        : `the ways between zones ${place.from} and ${place.to}`;
    case 'path-class':
      return `all paths of class ${place.pathClass}`;
  }
}

/** A way of a node, as probes tell it. */
function wayOf(place: FaultPlace): string {
  if (place.kind !== 'node' || place.direction === 'both') return ofPlace(place);
  return place.direction === 'send' ? `what node ${place.node} sends` : `what node ${place.node} receives`;
}

const down: Sentence = (place) => {
  switch (place.kind) {
    case 'node':
      return `Node ${place.node} is down, or cut off from all others: nothing of it answers.`;
    case 'observer':
      return `Node ${place.node} reaches next to nobody: it is cut off, or nearly all others are down.`;
    case 'pair':
      return `Nothing at ${place.to} answers ${place.from}: one of the two is down, or what lies between them.`;
    case 'zone':
      return `Zone ${place.zone} is down, or cut off from all others: nothing in it answers.`;
    case 'zone-pair':
      return place.from === place.to
        ? `The nodes of zone ${place.from} do not reach each other.`
        : `Zones ${place.from} and ${place.to} do not reach each other: the network between them is split.`;
    case 'path-class':
      return 'A large part of the nodes does not answer: the network is split, or they are down.';
  }
};

const stack: Sentence = (place) =>
  place.kind === 'node'
    ? `Node ${place.node} hangs: its network device answers, its kernel does not.`
    : `Network devices answer and kernels do not: ${ofPlace(place)}.`;

const agent: Sentence = (place) => {
  switch (place.kind) {
    case 'node':
      return `The health agent of node ${place.node} hangs or does not run: its kernel answers, the agent does not.`;
    case 'pair':
      return `The health agent of ${place.to} does not answer ${place.from}, its kernel does.`;
    default:
      return `Health agents do not answer, their kernels do: ${ofPlace(place)}.`;
  }
};

const SENTENCES: Readonly<Record<FaultKind, Sentence>> = {
  'node-down': down,
  'stack-hung': stack,
  'agent-hung': agent,
  loss: (place) => `Packets are lost on ${wayOf(place)}.`,
  slow: (place) => `Answers take much longer than usual on ${wayOf(place)}; none is lost.`,
  'mtu-black-hole': (place) =>
    `Large packets vanish on ${wayOf(place)}, small ones pass: an MTU is too small and nobody says so.`,
  'policy-drop': (place) => `A policy drops packets on ${wayOf(place)}.`,
  'route-missing': (place) => `The kernel has no route for ${wayOf(place)}.`,
  'nic-drop': (place) => `A network device drops packets on ${wayOf(place)}.`,
  drop: (place) => `Packets do not get through on ${wayOf(place)}, though the hosts reach each other.`,
  'icmp-filtered': (place) =>
    `ICMP is not answered on ${ofPlace(place)}, HTTP is: a filter takes ICMP, nothing is down.`,
  'http-filtered': (place, kinds) =>
    kinds.includes('host-host/icmp')
      ? `Neither TCP port 4240 nor ICMP is answered on ${ofPlace(place)}, though the agent there says that it lives: a filter takes both, nothing is down.`
      : `TCP port 4240 is not answered on ${ofPlace(place)}, ICMP is: a filter takes it, nothing is down.`,
  'echo-filtered': (place) =>
    `UDP port 4240 is not answered on ${ofPlace(place)}, ICMP and HTTP are: a filter takes our echoes, nothing else is lost.`,
  'canary-open': (place) =>
    `Packets that a policy denies get through on ${ofPlace(place)}: policy is not enforced there.`,
};

/** A node on which to look, and one to which: as words of a command. */
function endsOf(place: FaultPlace): { readonly at: string | undefined; readonly to: string | undefined } {
  switch (place.kind) {
    case 'node':
    case 'observer':
      return { at: shellWord(place.node), to: shellWord(place.node) };
    case 'pair':
      return { at: shellWord(place.from), to: shellWord(place.to) };
    default:
      return { at: undefined, to: undefined };
  }
}

function pathCommand(place: FaultPlace): string {
  const { at, to } = endsOf(place);
  if (place.kind === 'pair') return `ciliate health path ${at} ${to}`;
  return to === undefined ? 'ciliate health matrix' : `ciliate health matrix --node ${to}`;
}

type Steps = (place: FaultPlace, lossPoint?: LossPoint) => readonly string[];

const onNode = (place: FaultPlace): string => {
  const { at } = endsOf(place);
  return at === undefined ? 'on one of the nodes' : `on ${at}`;
};

/** Where what does not answer is, or answers and should not. */
const onPeer = (place: FaultPlace): string => {
  const { to } = endsOf(place);
  return to === undefined ? 'on one of the nodes' : `on ${to}`;
};

const probe: Steps = (place) => {
  const { to } = endsOf(place);
  return to === undefined ? [] : [`ciliate health probe ${to} --count 20: whether it still is so`];
};

/** Where packets were seen last, if that is known: there they are dropped. */
const onDropper = (place: FaultPlace, lossPoint: LossPoint | undefined): string =>
  lossPoint === undefined ? onNode(place) : `on ${shellWord(lossPoint.node)}`;

const drops: Steps = (place, lossPoint) => [
  `ciliate monitor --type drop ${onDropper(place, lossPoint)}: which packets are dropped, and why`,
  `${pathCommand(place)}: which kinds of paths fail, and where probes were seen last`,
];

/** Hooks at which the policy of a node itself is enforced. */
const NODE_POLICY: ReadonlySet<string> = new Set(['to_host', 'from_host']);

const NEXT: Readonly<Record<FaultKind, Steps>> = {
  'node-down': (place) => [
    ...probe(place),
    `${pathCommand(place)}: who still reaches what`,
    place.kind === 'observer'
      ? `ip -s link ${onNode(place)}: whether its device has a carrier, and errors`
      : 'the console of a node that does not answer: whether it runs, and its device has a carrier',
  ],
  'stack-hung': (place) => [
    `the console ${onPeer(place)}: dmesg for a lock-up, /proc/pressure for memory`,
    'ciliate monitor --type drop there, if it works: a policy of the node, or a firewall, that denies both ICMP echoes and TCP 4240 looks the same from outside',
    ...probe(place),
  ],
  'agent-hung': (place) => [
    `ciliate health status ${onPeer(place)}, and the log of its health agent: whether it runs`,
    'ss -ltn sport = :4240 there: whether it listens, and its queue is full',
    'ciliate monitor --type drop there: a policy of the node that denies TCP 4240 looks the same from outside',
  ],
  loss: (place, lossPoint) => [
    `ip -s -s link ${onDropper(place, lossPoint)}: drops and errors of its device`,
    ...drops(place, lossPoint),
  ],
  slow: (place) => [
    `${pathCommand(place)}: whether the network or the responder takes the time`,
    `/proc/pressure/cpu ${onNode(place)}: whether its processors are overrun`,
  ],
  'mtu-black-hole': (place) => [
    'ciliate health mtu: which size still passes on which path',
    `ip link ${onNode(place)}: whether the MTU is larger than what passes; a tunnel takes 50 bytes and more`,
    'filters on the way: ICMP "fragmentation needed" (type 3 code 4) and "packet too big" must pass',
  ],
  'policy-drop': (place, lossPoint) => [
    `ciliate monitor --type drop ${onDropper(place, lossPoint)}: which identities, and which port`,
    ...(NODE_POLICY.has(lossPoint?.hook ?? '')
      ? [
          `ciliate policy get ${onDropper(place, lossPoint)}: its rules with a nodeSelector, which must allow ICMP echoes and TCP 4240`,
        ]
      : ['ciliate policy trace: which rule decides']),
  ],
  'route-missing': (place) => [
    `ip route get ADDRESS ${onNode(place)}: which route is taken, if any`,
    'ciliate node list: whether the peer has the address that is probed',
  ],
  'nic-drop': (place, lossPoint) => [
    `ip -s -s link ${onDropper(place, lossPoint)}: which counter of the device grows`,
    `ethtool -S of the device ${onDropper(place, lossPoint)}: rings that are full`,
  ],
  drop: drops,
  'icmp-filtered': () => [
    'filters of nodes and of the network between them: ICMP echo (type 8 and 0; IPv6: 128 and 129) should pass',
    'nothing else needs mending: the nodes are reached by the other probes',
  ],
  'http-filtered': () => [
    'filters of nodes and of the network between them: TCP port 4240 should pass between all nodes',
    'ciliate monitor --type drop: whether a policy of ours takes it',
  ],
  'echo-filtered': (place) => [
    'filters of nodes and of the network between them: UDP port 4240 must pass between all nodes, both ways',
    `${pathCommand(place)}: which echoes have no answer, and where they were seen last`,
  ],
  'canary-open': (place) => [
    `ciliate endpoint list ${onPeer(place)}: whether policy is enforced on the health endpoint`,
    `ciliate bpf policy list ${onPeer(place)}: which entry lets it through`,
    `ciliate policy get ${onPeer(place)}: whether a rule allows what the canary expects to be denied`,
  ],
};

function lossPointText({ node, hook, leg, reason }: LossPoint): string {
  const what = leg === 'request' ? 'requests' : 'answers';
  const where =
    hook === 'socket' ? `${what} never left ${node}` : `${what} were seen last on ${node} at ${hook}`;
  return reason === undefined ? where : `${where}: ${reason}`;
}

/** A verdict in words. */
export function verdictText(verdict: VerdictView): VerdictText {
  const { fault, place, kinds, families, lossPoint } = verdict;
  const only = families.length === 1 ? [`only over IPv${families[0]}`] : [];
  const shown = kinds.length > 0 ? [`paths: ${kinds.join(', ')}`] : [];
  const point = lossPoint === undefined ? [] : [lossPointText(lossPoint)];
  return {
    what: SENTENCES[fault](place, kinds),
    details: [...only, ...shown, ...point],
    next: NEXT[fault](place, lossPoint),
  };
}
