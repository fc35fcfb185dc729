/**
 * Policy at size: 1,000 rules with 200 selectors, 10,000 identities, 1,000 endpoints with an identity each. Each rule
 * selects 10 endpoints and 10 identities; most allow a port, some deny one, judge requests or also name a prefix.
 * Prints how the resolver compares with working everything out again from the rules, in one interleaved run; the load
 * is the same at every run.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseCidr } from '../src/base/ip.ts';
import { type Identity, RESERVED_IDENTITIES } from '../src/model/identity.ts';
import { type Label, labelSet } from '../src/model/labels.ts';
import { type LabelSelector, makeSelector, matchesSelector } from '../src/model/selector.ts';
import { PolicyResolver, Repository, type Rule, readPolicy, rulesText } from '../src/policy/index.ts';
import { importTurns, manyRules } from './support/import-turns.ts';
import { type BenchRow, interleave, median, report } from './support/measure.ts';
import { threadMs } from './support/thread-ms.ts';

const RULES = 1000;
const SELECTORS = 200;
const IDENTITIES = 10_000;
const SUBJECTS = 1000;
const ROUNDS = 5;
/** The recompute is too slow to do for every subject each round. */
const NAIVE_SUBJECTS = 50;
/** Endpoints that a rule selects, and identities that a selector of peers picks. */
const PICKED = 10;
const NAMESPACES = 20;

/** A small generator (LCG of Numerical Recipes): the load must not differ from run to run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const random = generator(20261123);
const label = (key: string, value: string): Label => ({ source: 'k8s', key, value });

function identity(index: number): Identity {
  const isSubject = index % (IDENTITIES / SUBJECTS) === 0;
  return {
    id: 256 + index,
    labels: labelSet([
      label('app', `app-${index % (IDENTITIES / PICKED)}`),
      ...(isSubject ? [label('group', `group-${(index / PICKED) % (SUBJECTS / PICKED)}`)] : []),
      label('io.kubernetes.pod.namespace', `ns-${random(NAMESPACES)}`),
      label('io.cilium.k8s.policy.cluster', 'default'),
      label('instance', String(index)),
    ]),
  };
}

function any(key: string, value: string): LabelSelector {
  return makeSelector([{ source: 'any', key, value }]);
}

const HTTP = { path: '/v1/.*', method: 'GET', host: undefined, headers: [], headerMatches: [] };

function pickRule(peers: readonly LabelSelector[], index: number): Rule {
  const peer = peers[random(peers.length)] ?? makeSelector([]);
  const port = { port: 1 + random(60_000), endPort: undefined, protocol: 'TCP' as const };
  const ports = [
    { ports: [port], ...(index % 10 === 1 && { l7: { kind: 'http' as const, rules: [HTTP] } }) },
  ];
  const item = { peers: { kind: 'endpoints', selectors: [peer] }, ports } as const;
  const prefix = parseCidr(`20.${random(200)}.0.0/16`);
  const cidr = { peers: { kind: 'cidrs', cidrs: [prefix] }, ports } as const;
  const denies = index % 10 === 2;
  return {
    subject: any('group', `group-${random(SUBJECTS / PICKED)}`),
    ingress: denies ? [] : index % 10 === 3 ? [item, cidr] : [item],
    egress: undefined,
    ...(denies && { ingressDeny: [{ peers: item.peers, ports: [{ ports: [port] }] }] }),
    labels: [],
    description: undefined,
  };
}

const identities = Array.from({ length: IDENTITIES }, (_, i) => identity(i));
const selectors = Array.from({ length: SELECTORS }, (_, i) => any('app', `app-${i}`));
const rules = Array.from({ length: RULES }, (_, i) => pickRule(selectors, i));
const subjects = identities.filter((_, i) => i % (IDENTITIES / SUBJECTS) === 0);

/** Processor time: all of it is work of one thread, and other processes of the machine must not count. */
function timeMs(run: () => void): number {
  const startMs = threadMs();
  run();
  return threadMs() - startMs;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** One subject from the rules alone: every selector tried on every identity. */
function recompute(subject: Identity, all: readonly Identity[]): number {
  const keys = new Set<string>();
  for (const rule of rules) {
    if (!matchesSelector(rule.subject, subject.labels)) continue;
    for (const { peers, ports } of [...(rule.ingress ?? []), ...(rule.ingressDeny ?? [])]) {
      for (const peer of peers?.kind === 'endpoints' ? peers.selectors : []) {
        for (const { id, labels } of all) {
          if (matchesSelector(peer, labels)) keys.add(`${id}/${ports?.[0]?.ports[0]?.port ?? 0}`);
        }
      }
    }
  }
  return keys.size;
}

interface Round {
  readonly parseMs: number;
  readonly setUpMs: number;
  readonly resolveMs: number;
  readonly identityMs: number;
  readonly ruleMs: number;
  readonly naiveMs: number;
  readonly entries: number;
  readonly touched: number;
  readonly selected: number;
  /** Heap that identities, rules and policies take. */
  readonly heapMiB: number;
}

function round(): Round {
  const text = rulesText(rules);
  const parseMs = timeMs(() => readPolicy(text, { file: 'bench', limits: { maxBytes: 1 << 26 } }));
  const heapBefore = heapBytes();
  const repository = Repository.empty();
  repository.add(rules);
  const resolver = new PolicyResolver({ mode: 'default', allowLocalhost: 'always', clusterName: 'default' });
  const setUpMs = timeMs(() => {
    resolver.updateIdentities({ upserts: identities });
    resolver.setRules(repository.snapshot());
  });
  let entries = 0;
  const resolveMs = timeMs(() => {
    for (const subject of subjects) entries += resolver.resolve(subject).mapState.size;
  });
  const heapMiB = (heapBytes() - heapBefore) / 2 ** 20;
  const known = [...RESERVED_IDENTITIES.slice(1), ...identities];
  const sample = subjects.slice(0, NAIVE_SUBJECTS);
  const sampleMs = timeMs(() => {
    for (const subject of sample) recompute(subject, known);
  });
  let touched = 0;
  const fresh = { id: 60_000, labels: identities[111]?.labels ?? [] };
  const identityMs = timeMs(() => {
    touched = resolver.updateIdentities({ upserts: [fresh] }).length;
  });
  repository.add([pickRule(selectors, 0)]);
  let selected = 0;
  const ruleMs = timeMs(() => {
    selected = resolver.setRules(repository.snapshot()).length;
  });
  const naiveMs = (sampleMs * SUBJECTS) / NAIVE_SUBJECTS;
  return { parseMs, setUpMs, resolveMs, identityMs, ruleMs, naiveMs, entries, touched, selected, heapMiB };
}

const rounds = Array.from({ length: ROUNDS }, round);
const [first] = rounds;
const middle = (key: keyof Round): number => median(rounds.map((one) => one[key]));
const row = (what: string, key: keyof Round, aim?: string): BenchRow => ({
  what,
  value: middle(key),
  unit: 'ms',
  ...(aim !== undefined && { aim }),
});
/** How much longer the rules alone take than the resolver; medians of ratios within a round. */
const ratio = (what: string, ms: (one: Round) => number): BenchRow => ({
  what,
  value: median(rounds.map((one) => one.naiveMs / ms(one))),
  unit: 'x',
});

report(`policy: ${RULES} rules, ${SELECTORS} selectors, ${IDENTITIES} identities, ${SUBJECTS} subjects`, [
  row('read the rules as JSON', 'parseMs'),
  row('take identities and rules', 'setUpMs'),
  row(`resolve every subject, ${first?.entries ?? 0} entries`, 'resolveMs'),
  {
    what: 'both together',
    value: median(rounds.map((one) => one.setUpMs + one.resolveMs)),
    unit: 'ms',
    aim: '<= 2000',
  },
  { what: 'memory of identities, rules and policies', value: middle('heapMiB'), unit: 'MiB' },
  row('the same naively, from the rules', 'naiveMs'),
  row(`one more identity, ${first?.touched ?? 0} subjects touched`, 'identityMs', '<= 5'),
  row(`one more rule, ${first?.selected ?? 0} subjects selected`, 'ruleMs', '<= 10'),
  ratio('naive over resolver, from nothing', (one) => one.setUpMs + one.resolveMs),
  ratio('naive over resolver, one more identity', (one) => one.identityMs),
  ratio('naive over resolver, one more rule', (one) => one.ruleMs),
]);

const IMPORTED = 10_000;
const text = manyRules(IMPORTED);
const wholes = new Map<string, number[]>();
const variants = ['in turns', 'at once'].map((name) => ({
  name,
  run: async () => {
    const { wholeMs, turnMs } = await importTurns(text, name === 'in turns');
    wholes.set(name, [...(wholes.get(name) ?? []), wholeMs]);
    return turnMs;
  },
}));
const longest = await interleave(variants, ROUNDS);
report(
  `import of ${IMPORTED} rules by labels, ${text.length} bytes of JSON`,
  variants.flatMap(({ name }) => [
    { what: `read and answered ${name}: longest turn`, value: median(longest.get(name) ?? []), unit: 'ms' },
    { what: `read and answered ${name}: all of it`, value: median(wholes.get(name) ?? []), unit: 'ms' },
  ]),
);
