import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatCidr } from '../../src/base/ip.ts';
import type { Identity } from '../../src/model/identity.ts';
import type { L7Policy, ProxyPorts } from '../../src/model/l7.ts';
import { NO_PROXY_PORTS } from '../../src/model/l7.ts';
import type { MapState, MapStateKey } from '../../src/model/map-state.ts';
import { mapStateKeyText } from '../../src/model/map-state.ts';
import { EMPTY_INVENTORY } from '../../src/model/policy-inventory.ts';
import {
  PolicyResolver,
  type PolicyUpdate,
  type ResolveOptions,
  type StoredRule,
} from '../../src/policy/index.ts';
import { namedPortsText } from '../../src/policy/named-ports.ts';
import { SUBJECTS, testSeed, WORKLOADS } from '../support/policy-gen.ts';
import { languageCase, TEST_PROXY_PORTS } from '../support/policy-language.ts';
import { CLUSTER_PORTS, INVENTORY, KNOWN, NAMES_OF, OWN_PORTS } from '../support/policy-world.ts';
import { Random } from '../support/random.ts';

const RUNS = 25;
const STEPS = 10;

/** Everything that policies depend on. */
interface Inputs {
  rules: readonly StoredRule[];
  identities: Map<number, Identity>;
  names: Map<string, readonly string[]>;
  inventory: typeof INVENTORY;
  clusterPorts: typeof CLUSTER_PORTS;
  options: ResolveOptions & { readonly proxyPorts: ProxyPorts };
}

/** Names of the address that selectors in use ask for. */
function namesInUse(resolver: PolicyResolver, names: readonly string[]): ReadonlySet<string> {
  const used = new Set(resolver.fqdnSelectors().map(({ text }) => text));
  return new Set(names.filter((name) => used.has(name)));
}

function allNames(resolver: PolicyResolver, inputs: Inputs): ReadonlyMap<string, ReadonlySet<string>> {
  return new Map(Object.keys(NAMES_OF).map((ip) => [ip, namesInUse(resolver, inputs.names.get(ip) ?? [])]));
}

function fresh(inputs: Inputs, revision: number): PolicyResolver {
  const resolver = new PolicyResolver({ ...inputs.options, clusterName: 'default' });
  resolver.updateIdentities({ upserts: [...inputs.identities.values()] });
  resolver.setInventory(inputs.inventory);
  resolver.setNamedPorts(inputs.clusterPorts);
  resolver.setRules({ revision, rules: inputs.rules });
  resolver.setFqdnAddresses(allNames(resolver, inputs));
  resolver.release(resolver.releasable());
  return resolver;
}

/** What a number of this node stands for: two resolvers may give different numbers to one meaning. */
function meanings(resolver: PolicyResolver): ReadonlyMap<number, string> {
  const { identities } = resolver.localIdentities();
  return new Map(
    identities.map(({ id, family, prefix, fqdns }) => [id, JSON.stringify([family, prefix, fqdns])]),
  );
}

type Held = ReadonlyMap<string, { readonly key: MapStateKey; readonly entry: unknown }>;

function mapText(resolver: PolicyResolver, state: MapState | Held): string[] {
  const names = meanings(resolver);
  return [...state.values()]
    .map(({ key, entry }) => {
      const { identity, ...rest } = key;
      return `${names.get(identity) ?? identity} ${JSON.stringify(rest)} ${JSON.stringify(entry)}`;
    })
    .sort();
}

function l7Text(resolver: PolicyResolver): string {
  const names = meanings(resolver);
  const { subjects }: L7Policy = resolver.l7Policy();
  const filters = (list: L7Policy['subjects'][number]['ingress']): unknown =>
    list
      ?.map((filter) =>
        JSON.stringify({ ...filter, peers: filter.peers?.map((id) => names.get(id) ?? String(id)).sort() }),
      )
      .sort();
  const texts = subjects.map(({ subject, ingress, egress }) =>
    JSON.stringify([subject, filters(ingress), filters(egress)]),
  );
  return texts.sort().join('\n');
}

/** The maps, the ipcache and the proxy's policy as an agent would hold them: moved by what it is told only. */
class Follower {
  readonly maps = new Map<string, Map<string, { key: MapStateKey; entry: unknown }>>();
  readonly prefixes = new Map<string, number>();
  readonly l7 = new Map<number, string>();

  follow(resolver: PolicyResolver, updates: readonly PolicyUpdate[]): void {
    for (const { subject, namedPorts, diff, l7Changed, failure } of updates) {
      assert.equal(failure, undefined);
      const map = this.maps.get(`${subject} ${namedPortsText(namedPorts)}`);
      assert.ok(map !== undefined, 'only subjects that were resolved are told of');
      for (const key of diff.deletes) assert.ok(map.delete(mapStateKeyText(key)), 'a deleted key was there');
      for (const { key, entry } of diff.upserts) map.set(mapStateKeyText(key), { key, entry });
      if (l7Changed) this.#takeL7(resolver, subject);
    }
    const { upserts, deletes } = resolver.takePrefixChanges();
    for (const prefix of deletes)
      assert.ok(this.prefixes.delete(formatCidr(prefix)), 'a deleted prefix was there');
    for (const { prefix, identity } of upserts) this.prefixes.set(formatCidr(prefix), identity.id);
  }

  #takeL7(resolver: PolicyResolver, subject: number): void {
    const found = resolver.l7Policy().subjects.find((policy) => policy.subject === subject);
    if (found === undefined) this.l7.delete(subject);
    else this.l7.set(subject, JSON.stringify(found));
  }

  start(resolver: PolicyResolver): void {
    for (const subject of SUBJECTS) {
      for (const ports of OWN_PORTS) {
        const { mapState } = resolver.resolve(subject, ports);
        this.maps.set(`${subject.id} ${namedPortsText(ports)}`, new Map(mapState));
      }
      this.#takeL7(resolver, subject.id);
    }
    this.follow(resolver, []);
  }
}

function change(
  random: Random,
  resolver: PolicyResolver,
  inputs: Inputs,
  step: number,
): readonly PolicyUpdate[] {
  switch (random.below(7)) {
    case 0:
    case 1: {
      const kept = inputs.rules.filter(() => !random.oneIn(3));
      const { rules } = languageCase(random.below(2 ** 31), 1);
      const added = rules.slice(0, 3).map((rule, i) => ({ id: 100 * (step + 1) + i, rule }));
      inputs.rules = [...kept, ...added];
      const updates = resolver.setRules({ revision: step + 2, rules: inputs.rules });
      return [...updates, ...resolver.setFqdnAddresses(allNames(resolver, inputs))];
    }
    case 2: {
      const { id } = random.pick(WORKLOADS.slice(12));
      if (random.oneIn(3)) {
        inputs.identities.delete(id);
        return resolver.updateIdentities({ deletes: [id] });
      }
      const identity = { id, labels: random.pick(KNOWN.slice(1)).labels };
      inputs.identities.set(id, identity);
      return resolver.updateIdentities({ upserts: [identity] });
    }
    case 3: {
      const ip = random.pick(Object.keys(NAMES_OF));
      inputs.names.set(ip, random.oneIn(2) ? [] : (NAMES_OF[ip] ?? []));
      return resolver.setFqdnAddresses(new Map([[ip, namesInUse(resolver, inputs.names.get(ip) ?? [])]]));
    }
    case 4:
      inputs.inventory = random.pick([INVENTORY, EMPTY_INVENTORY]);
      return resolver.setInventory(inputs.inventory);
    case 5:
      inputs.clusterPorts = random.pick([CLUSTER_PORTS, CLUSTER_PORTS.slice(1), []]);
      return resolver.setNamedPorts(inputs.clusterPorts);
    default:
      inputs.options = {
        mode: random.pick(['default', 'default', 'always']),
        allowLocalhost: random.pick(['always', 'policy']),
        proxyPorts: random.pick([TEST_PROXY_PORTS, NO_PROXY_PORTS]),
      };
      return resolver.setOptions(inputs.options);
  }
}

function start(): Inputs {
  return {
    rules: [],
    identities: new Map([...WORKLOADS, ...KNOWN.filter(({ id }) => id > 65_535)].map((one) => [one.id, one])),
    names: new Map(Object.entries(NAMES_OF)),
    inventory: INVENTORY,
    clusterPorts: CLUSTER_PORTS,
    options: { mode: 'default', allowLocalhost: 'always', proxyPorts: TEST_PROXY_PORTS },
  };
}

function compare(resolver: PolicyResolver, follower: Follower, wanted: PolicyResolver): void {
  for (const subject of SUBJECTS) {
    for (const ports of OWN_PORTS) {
      const [got, want] = [resolver.resolve(subject, ports), wanted.resolve(subject, ports)];
      const held = follower.maps.get(`${subject.id} ${namedPortsText(ports)}`) ?? new Map();
      assert.deepEqual(got.enforcement, want.enforcement);
      assert.equal(got.conflict === undefined, want.conflict === undefined);
      assert.deepEqual(mapText(resolver, got.mapState), mapText(wanted, want.mapState));
      assert.deepEqual(mapText(resolver, held), mapText(wanted, want.mapState));
    }
  }
  const ipcache = (one: PolicyResolver): string[] =>
    one
      .prefixes()
      .map(({ prefix, identity }) => `${formatCidr(prefix)} ${meanings(one).get(identity.id) ?? identity.id}`)
      .sort();
  assert.deepEqual(ipcache(resolver), ipcache(wanted));
  const told = resolver.prefixes().map(({ prefix, identity }) => [formatCidr(prefix), identity.id] as const);
  assert.deepEqual(new Map([...follower.prefixes].sort()), new Map([...told].sort()));
  assert.equal(l7Text(resolver), l7Text(wanted));
  const l7 = new Map(resolver.l7Policy().subjects.map((one) => [one.subject, JSON.stringify(one)]));
  assert.deepEqual(new Map([...follower.l7].sort()), new Map([...l7].sort()));
}

describe('PolicyResolver under changes of everything that rules depend on', () => {
  it('reaches by its differences what a fresh one computes: map states, prefixes and the policy of the proxy', (t) => {
    const seed = testSeed();
    for (let run = 0; run < RUNS; run++) {
      const random = new Random(seed + run);
      const inputs = start();
      const resolver = fresh(inputs, 1);
      const follower = new Follower();
      follower.start(resolver);
      try {
        for (let step = 0; step < STEPS; step++) {
          follower.follow(resolver, change(random, resolver, inputs, step));
          if (random.oneIn(3)) follower.follow(resolver, resolver.release(resolver.releasable()));
        }
        follower.follow(resolver, resolver.release(resolver.releasable()));
        compare(resolver, follower, fresh(inputs, 1));
      } catch (error) {
        t.diagnostic(`failed with seed ${seed + run}`);
        throw error;
      }
    }
    t.diagnostic(`seed ${seed}`);
  });
});
