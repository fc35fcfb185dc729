/**
 * Policy at size: 1,000 rules with 200 selectors, 10,000 identities, 1,000 subjects. Prints how the resolver compares
 * with working everything out again from the rules, in one interleaved run; the load is the same at every run.
 */
import { type Identity, RESERVED_IDENTITIES } from '../src/model/identity.ts';
import { type Label, labelSet } from '../src/model/labels.ts';
import { type LabelSelector, makeSelector, matchesSelector } from '../src/model/selector.ts';
import { PolicyResolver, Repository, type Rule, readPolicy, rulesText } from '../src/policy/index.ts';
import { type BenchRow, median, report } from './support/measure.ts';

const RULES = 1000;
const SELECTORS = 200;
const IDENTITIES = 10_000;
const SUBJECTS = 1000;
const ROUNDS = 5;
/** The recompute is too slow to do for every subject each round. */
const NAIVE_SUBJECTS = 50;
const APPS = 200;
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
  return {
    id: 256 + index,
    labels: labelSet([
      label('app', `app-${random(APPS)}`),
      label('version', `v${random(4)}`),
      label('io.kubernetes.pod.namespace', `ns-${random(NAMESPACES)}`),
      label('io.cilium.k8s.policy.cluster', 'default'),
      label('instance', String(index)),
    ]),
  };
}

function selector(): LabelSelector {
  const app = { source: 'any', key: 'app', value: `app-${random(APPS)}` };
  const version = { source: 'any', key: 'version', operator: 'NotIn' as const, values: [`v${random(4)}`] };
  return makeSelector([app], random(2) === 0 ? [version] : []);
}

function pickRule(selectors: readonly LabelSelector[]): Rule {
  const pick = (): LabelSelector => selectors[random(selectors.length)] ?? makeSelector([]);
  const port = { port: 1 + random(60_000), endPort: undefined, protocol: 'TCP' as const };
  const item = {
    peers: { kind: 'endpoints', selectors: [pick(), pick()] },
    ports: [{ ports: [port] }],
  } as const;
  return { subject: pick(), ingress: [item], egress: undefined, labels: [], description: undefined };
}

const identities = Array.from({ length: IDENTITIES }, (_, i) => identity(i));
const selectors = Array.from({ length: SELECTORS }, selector);
const rules = Array.from({ length: RULES }, () => pickRule(selectors));
const subjects = identities.filter((_, i) => i % (IDENTITIES / SUBJECTS) === 0);

function timeMs(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

/** One subject from the rules alone: every selector tried on every identity. */
function recompute(subject: Identity, all: readonly Identity[]): number {
  const keys = new Set<string>();
  for (const rule of rules) {
    if (!matchesSelector(rule.subject, subject.labels)) continue;
    for (const { peers, ports } of rule.ingress ?? []) {
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
}

function round(): Round {
  const text = rulesText(rules);
  const parseMs = timeMs(() => readPolicy(text, { file: 'bench', limits: { maxBytes: 1 << 26 } }));
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
  const known = [...RESERVED_IDENTITIES.slice(1), ...identities];
  const sample = subjects.slice(0, NAIVE_SUBJECTS);
  const sampleMs = timeMs(() => {
    for (const subject of sample) recompute(subject, known);
  });
  let touched = 0;
  const fresh = { id: 60_000, labels: identities[4711]?.labels ?? [] };
  const identityMs = timeMs(() => {
    touched = resolver.updateIdentities({ upserts: [fresh] }).length;
  });
  repository.add([pickRule(selectors)]);
  const ruleMs = timeMs(() => {
    resolver.setRules(repository.snapshot());
  });
  const naiveMs = (sampleMs * SUBJECTS) / NAIVE_SUBJECTS;
  return { parseMs, setUpMs, resolveMs, identityMs, ruleMs, naiveMs, entries, touched };
}

const rounds = Array.from({ length: ROUNDS }, round);
const [first] = rounds;
const middle = (key: keyof Round): number => median(rounds.map((one) => one[key]));
const row = (what: string, key: keyof Round): BenchRow => ({ what, value: middle(key), unit: 'ms' });
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
  row('the same naively, from the rules', 'naiveMs'),
  row(`one more identity, ${first?.touched ?? 0} subjects touched`, 'identityMs'),
  row('one more rule', 'ruleMs'),
  ratio('naive over resolver, from nothing', (one) => one.setUpMs + one.resolveMs),
  ratio('naive over resolver, one more identity', (one) => one.identityMs),
  ratio('naive over resolver, one more rule', (one) => one.ruleMs),
]);
