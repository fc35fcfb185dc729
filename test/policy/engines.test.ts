import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Identity } from '../../src/model/identity.ts';
import { type MapState, mapStateKeyText } from '../../src/model/map-state.ts';
import {
  evaluateMapState,
  evaluateNaive,
  PolicyResolver,
  type PolicyUpdate,
  Repository,
  type ResolveOptions,
  type Rule,
  readPolicy,
  rulesText,
} from '../../src/policy/index.ts';
import {
  PEERS,
  type PolicyPacket,
  policyCaseArbitrary,
  ruleSetArbitrary,
  SUBJECTS,
  testSeed,
  WORKLOADS,
} from '../support/policy-gen.ts';

const PACKETS = 40;
const RUNS = 400;
/** Bounds the search for the smallest failing case. */
const BOUND = { interruptAfterTimeLimit: 30_000, markInterruptAsFailure: true } as const;

const optionsArbitrary: fc.Arbitrary<ResolveOptions> = fc.record({
  mode: fc.constantFrom('default', 'default', 'default', 'always', 'never'),
  allowLocalhost: fc.constantFrom('always', 'policy'),
});

function resolverFor(
  rules: readonly Rule[],
  options: ResolveOptions,
  identities: readonly Identity[],
): PolicyResolver {
  const repository = Repository.empty();
  repository.add(rules);
  const resolver = new PolicyResolver({ ...options, clusterName: 'default' });
  resolver.updateIdentities({ upserts: identities });
  resolver.setRules(repository.snapshot());
  return resolver;
}

function show(rules: readonly Rule[], packet: PolicyPacket, mapState: MapState): string {
  const entries = [...mapState.keys()].join('\n');
  return `${JSON.stringify(packet)}\n${rulesText(rules)}\n${entries}`;
}

function compare(
  rules: readonly Rule[],
  packet: PolicyPacket,
  options: ResolveOptions,
  resolver: PolicyResolver,
): boolean {
  const { subject, peer, direction, protocol, port } = packet;
  const policy = resolver.resolve(subject);
  const query = { direction, identity: peer.id, protocol, port };
  const compiled = evaluateMapState(policy.mapState, policy.enforcement, query).kind === 'allow';
  const naive = evaluateNaive(rules, { ...options, clusterName: 'default' }, packet).kind === 'allow';
  if (compiled !== naive) assert.equal(compiled, naive, show(rules, packet, policy.mapState));
  return naive;
}

function asText(mapState: MapState): string[] {
  return [...mapState].map(([key, { entry }]) => `${key} ${JSON.stringify(entry)}`).sort();
}

describe('compiled map state', () => {
  it('gives the verdict of the rules read one by one, for random rules and packets', (t) => {
    const seed = testSeed();
    const seen = { allowed: 0, denied: 0 };
    fc.assert(
      fc.property(policyCaseArbitrary(PACKETS), optionsArbitrary, ({ rules, packets }, options) => {
        const resolver = resolverFor(rules, options, WORKLOADS);
        for (const packet of packets) {
          if (compare(rules, packet, options, resolver)) seen.allowed++;
          else seen.denied++;
        }
      }),
      { ...BOUND, seed, numRuns: RUNS },
    );
    t.diagnostic(`seed ${seed}: ${seen.allowed} allowed, ${seen.denied} denied`);
    assert.ok(seen.allowed + seen.denied >= 10_000);
    assert.ok(seen.allowed > 1000 && seen.denied > 1000, 'both verdicts are common');
  });

  it('is the same whether identities came before the rules, after them, or one by one', (t) => {
    const seed = testSeed();
    const order = fc.shuffledSubarray([...WORKLOADS], { minLength: WORKLOADS.length });
    fc.assert(
      fc.property(ruleSetArbitrary, optionsArbitrary, order, (rules, options, identities) => {
        const before = resolverFor(rules, options, WORKLOADS);
        const after = resolverFor(rules, options, []);
        for (const subject of SUBJECTS) after.resolve(subject);
        for (const identity of identities) after.updateIdentities({ upserts: [identity] });
        for (const subject of SUBJECTS) {
          assert.deepEqual(asText(after.resolve(subject).mapState), asText(before.resolve(subject).mapState));
        }
      }),
      { ...BOUND, seed, numRuns: 40 },
    );
    t.diagnostic(`seed ${seed}`);
  });
});

type Step =
  | { readonly kind: 'rules'; readonly rules: readonly Rule[] }
  | { readonly kind: 'upsert'; readonly identity: Identity }
  | { readonly kind: 'delete'; readonly id: number }
  | { readonly kind: 'options'; readonly options: ResolveOptions };

const movable = WORKLOADS.slice(12);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('rules' as const), rules: ruleSetArbitrary }),
  fc.record({
    kind: fc.constant('upsert' as const),
    identity: fc
      .tuple(fc.constantFrom(...movable), fc.constantFrom(...PEERS.filter(({ id }) => id >= 256)))
      .map(([{ id }, { labels }]) => ({ id, labels })),
  }),
  fc.record({ kind: fc.constant('delete' as const), id: fc.constantFrom(...movable).map(({ id }) => id) }),
  fc.record({ kind: fc.constant('options' as const), options: optionsArbitrary }),
);

/** The maps as the kernel would hold them: moved by differences only. */
class FollowedMaps {
  readonly maps = new Map<number, Map<string, unknown>>();

  follow(updates: readonly PolicyUpdate[]): void {
    for (const { subject, diff } of updates) {
      const map = this.maps.get(subject);
      assert.ok(map !== undefined, 'only subjects that were resolved are told of');
      for (const key of diff.deletes) assert.ok(map.delete(mapStateKeyText(key)), 'a deleted key was there');
      for (const { key, entry } of diff.upserts) map.set(mapStateKeyText(key), entry);
    }
  }
}

describe('PolicyResolver', () => {
  it('reaches by its differences the map state that a fresh one computes, whatever changed before', (t) => {
    const seed = testSeed();
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const repository = Repository.empty();
        let options: ResolveOptions = { mode: 'default', allowLocalhost: 'always' };
        const resolver = new PolicyResolver({ ...options, clusterName: 'default' });
        const identities = new Map(WORKLOADS.map((identity) => [identity.id, identity]));
        resolver.updateIdentities({ upserts: WORKLOADS });
        const followed = new FollowedMaps();
        for (const subject of SUBJECTS) {
          const entries = [...resolver.resolve(subject).mapState].map(
            ([key, { entry }]) => [key, entry] as const,
          );
          followed.maps.set(subject.id, new Map(entries));
        }
        for (const change of steps) {
          if (change.kind === 'rules') {
            repository.replace([], change.rules);
            followed.follow(resolver.setRules(repository.snapshot()));
          } else if (change.kind === 'upsert') {
            identities.set(change.identity.id, change.identity);
            followed.follow(resolver.updateIdentities({ upserts: [change.identity] }));
          } else if (change.kind === 'delete') {
            identities.delete(change.id);
            followed.follow(resolver.updateIdentities({ deletes: [change.id] }));
          } else {
            options = change.options;
            followed.follow(resolver.setOptions(options));
          }
        }
        const fresh = new PolicyResolver({ ...options, clusterName: 'default' });
        fresh.updateIdentities({ upserts: [...identities.values()] });
        fresh.setRules(repository.snapshot());
        for (const subject of SUBJECTS) {
          const wanted = fresh.resolve(subject);
          const got = resolver.resolve(subject);
          assert.deepEqual(asText(got.mapState), asText(wanted.mapState));
          assert.deepEqual(got.enforcement, wanted.enforcement);
          const held = [...(followed.maps.get(subject.id) ?? [])].map(
            ([key, entry]) => `${key} ${JSON.stringify(entry)}`,
          );
          assert.deepEqual(held.sort(), asText(wanted.mapState));
        }
      }),
      { ...BOUND, seed, numRuns: 80 },
    );
    t.diagnostic(`seed ${seed}`);
  });
});

describe('rulesText', () => {
  it('is read back as the same rules', (t) => {
    const seed = testSeed();
    fc.assert(
      fc.property(ruleSetArbitrary, (rules) => {
        // The clone has plain prototypes, which the generator does not give.
        assert.deepEqual(readPolicy(rulesText(rules), { file: 'text' }), structuredClone(rules));
      }),
      { ...BOUND, seed, numRuns: 200 },
    );
    t.diagnostic(`seed ${seed}`);
  });
});
