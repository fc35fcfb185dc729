import { type FaultKind, PathStates, PROBE_KINDS, probeKindIndex } from '../../model/health.ts';

/**
 * What the states of one cell come to. Each is a pattern of its own, whose places are looked for by themselves; `class` is
 * the index of a path class in `ENDPOINT_CLASSES`.
 */
export interface Symptom {
  /** What it is when it shows at a node. */
  readonly fault: FaultKind;
  /** What it is when it shows between nodes. */
  readonly between: FaultKind;
  /** Indices of the kinds of paths that tell. */
  readonly kinds: readonly number[];
}

const kindsOf = (pathClass: string): number[] =>
  PROBE_KINDS.flatMap((kind, i) => (kind.pathClass === pathClass && kind.expects === 'answer' ? [i] : []));

const HOST = kindsOf('host-host');
const [ECHO, ICMP, HTTP] = ['echo', 'icmp', 'http'].map((responder) =>
  probeKindIndex(`host-host/${responder}`),
) as [number, number, number];
/** Classes of paths that end or begin at an endpoint. */
const ENDPOINT_CLASSES = [...new Set(PROBE_KINDS.map(({ pathClass }) => pathClass))].filter(
  (name) => kindsOf(name).length > 0 && name !== 'host-host',
);
const CANARIES = PROBE_KINDS.flatMap(({ expects }, i) => (expects === 'silence' ? [i] : []));

const ofClass = (
  suffix: 'all' | 'icmp' | 'http',
  fault: FaultKind,
  between: FaultKind,
): readonly (readonly [string, Symptom])[] =>
  ENDPOINT_CLASSES.map((name) => {
    const kinds = kindsOf(name).filter((i) => suffix === 'all' || PROBE_KINDS[i]?.responder === suffix);
    return [`${name} ${suffix}`, { fault, between, kinds }] as const;
  });

const TABLE: readonly (readonly [string, Symptom])[] = [
  ['silent', { fault: 'node-down', between: 'node-down', kinds: HOST }],
  ['stack', { fault: 'stack-hung', between: 'stack-hung', kinds: [ICMP, HTTP] }],
  ['agent', { fault: 'agent-hung', between: 'http-filtered', kinds: [HTTP] }],
  ['icmp', { fault: 'icmp-filtered', between: 'icmp-filtered', kinds: [ICMP] }],
  ['echo', { fault: 'echo-filtered', between: 'echo-filtered', kinds: [ECHO] }],
  ...ofClass('all', 'drop', 'drop'),
  ...ofClass('http', 'agent-hung', 'http-filtered'),
  ...ofClass('icmp', 'icmp-filtered', 'icmp-filtered'),
  ['canary', { fault: 'canary-open', between: 'canary-open', kinds: CANARIES }],
  ['slow', { fault: 'slow', between: 'slow', kinds: [] }],
];

/** Symptoms by number: that of bit i of what `symptomsOf` gives. At most 30. */
export const SYMPTOMS: readonly Symptom[] = TABLE.map(([, symptom]) => symptom);

const bit = (name: string): number => {
  const at = TABLE.findIndex(([own]) => own === name);
  return at < 0 ? 0 : 1 << at;
};

/** Nothing of the host answers. */
export const SILENT = bit('silent');
const STACK = bit('stack');
const AGENT = bit('agent');
const ICMP_ONLY = bit('icmp');
const ECHO_ONLY = bit('echo');
const CANARY = bit('canary');
/** Something of the host is silent, and what that means is not known yet: no symptom, and no loss either. */
export const UNDECIDED = 1 << 30;
/** Answers come late, and none is lost. */
export const SLOW = bit('slow');
const CLASS_BITS = ENDPOINT_CLASSES.map((name) => ({
  kinds: kindsOf(name),
  all: bit(`${name} all`),
  icmp: bit(`${name} icmp`),
  http: bit(`${name} http`),
}));

const { unknown: UNKNOWN, degraded: DEGRADED, unreachable: DEAD } = PathStates;

/** Any kind that is degraded or unreachable has the upper bit of its two. */
export const UPPER_BITS = 0xaaaa_aaaa | 0;

const stateOf = (word: number, kind: number): number => (word >>> (2 * kind)) & 3;
const isDead = (word: number, kind: number): boolean => stateOf(word, kind) === DEAD;
const isAlive = (word: number, kind: number): boolean => {
  const state = stateOf(word, kind);
  return state !== UNKNOWN && state !== DEAD;
};

/** @param word states of one family, as in `HealthCell`. @returns a bit a symptom, or `UNDECIDED`; 0: all is well */
export function symptomsOf(word: number): number {
  if ((word & UPPER_BITS) === 0) return 0;
  const host = hostSymptom(word);
  const canary = CANARIES.some((kind) => isDead(word, kind)) ? CANARY : 0;
  const slow = isDegraded(word) ? SLOW : 0;
  // Where nothing is known to answer at the host, whatever lies behind it says nothing of its own.
  if (host === SILENT || host === STACK || !HOST.some((kind) => isAlive(word, kind))) return host | canary;
  // Nor do they while it is not known what the host's silence means.
  const undecided = host === 0 && HOST.some((kind) => isDead(word, kind)) ? UNDECIDED : 0;
  if (undecided !== 0 && isDead(word, ICMP)) return undecided | canary;
  return host | undecided | canary | slow | classSymptoms(word, host);
}

function isDegraded(word: number): boolean {
  return PROBE_KINDS.some((_, kind) => stateOf(word, kind) === DEGRADED);
}

function hostSymptom(word: number): number {
  const known = HOST.filter((kind) => stateOf(word, kind) !== UNKNOWN);
  if (known.length === 0) return 0;
  if (known.every((kind) => isDead(word, kind))) return SILENT;
  const [icmp, http] = [isDead(word, ICMP), isDead(word, HTTP)];
  if (icmp && http) return isAlive(word, ECHO) ? STACK : 0;
  // Until HTTP is known, it may be a filter or a stack that hangs.
  if (icmp) return isAlive(word, HTTP) ? ICMP_ONLY : 0;
  if (http) return AGENT;
  // One that died is not heard any more by the other two, once they were asked.
  const isAnswered = isAlive(word, ICMP) && isAlive(word, HTTP);
  return isAnswered && isDead(word, ECHO) ? ECHO_ONLY : 0;
}

/** One that the host shows already is not told again of the classes beyond it. */
function classSymptoms(word: number, host: number): number {
  let symptoms = 0;
  for (const { kinds, all, icmp, http } of CLASS_BITS) {
    const known = kinds.filter((kind) => stateOf(word, kind) !== UNKNOWN);
    const dead = known.filter((kind) => isDead(word, kind));
    if (dead.length === 0) continue;
    // A class that only the agent answers says no more than that the agent is silent.
    const isTold = (host === ICMP_ONLY && dead.every(isIcmp)) || (host === AGENT && dead.every(isHttp));
    if (dead.length === known.length && !isTold) symptoms |= all;
    else symptoms |= isIcmp(dead[0] ?? 0) ? icmp : http;
  }
  return symptoms;
}

function isHttp(kind: number): boolean {
  return PROBE_KINDS[kind]?.responder === 'http';
}

function isIcmp(kind: number): boolean {
  return PROBE_KINDS[kind]?.responder === 'icmp';
}

const KNOWN_MAX = 4096;

/** `symptomsOf` with a memory: most cells are well, and those that are not mostly look alike. */
export class SymptomTable {
  readonly #known = new Map<number, number>();

  of(word: number): number {
    if ((word & UPPER_BITS) === 0) return 0;
    const known = this.#known.get(word);
    if (known !== undefined) return known;
    const symptoms = symptomsOf(word);
    if (this.#known.size < KNOWN_MAX) this.#known.set(word, symptoms);
    return symptoms;
  }
}
