import assert from 'node:assert/strict';
import { formatCidr, ipFamily, parseIp } from '../../src/base/ip.ts';
import { type Identity, RESERVED_IDENTITIES, reservedIdentity } from '../../src/model/identity.ts';
import { parseLabels } from '../../src/model/labels.ts';
import type { Direction } from '../../src/model/map-state.ts';
import type { NamedPort } from '../../src/model/named-port.ts';
import { EMPTY_INVENTORY, type PolicyInventory } from '../../src/model/policy-inventory.ts';
import {
  evaluateMapState,
  evaluateNaive,
  PolicyResolver,
  parsePolicy,
  Repository,
} from '../../src/policy/index.ts';
import { PrefixSet } from '../../src/policy/prefix-set.ts';
import { HttpJudge, judgeRequest } from '../../src/proxy/http/judge.ts';
import { readTarget } from '../../src/proxy/http/path.ts';
import { PolicyTable } from '../../src/proxy/policy-table.ts';
import { TEST_PROXY_PORTS } from '../support/policy-language.ts';

const NS = 'k8s:io.kubernetes.pod.namespace';
export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;

const identity = (id: number, ...labels: readonly string[]): Identity => ({
  id,
  labels: parseLabels(labels),
});

/** Who there is in the cluster: web and client in `default`, stranger and web2 elsewhere, box without a namespace. */
export const PODS = {
  web: identity(1000, 'k8s:app=web', `${NS}=default`),
  client: identity(1001, 'k8s:app=client', 'k8s:tier=front', `${NS}=default`),
  plain: identity(1002, 'k8s:app=plain', `${NS}=default`),
  stranger: identity(1003, 'k8s:app=client', `${NS}=other`, 'k8s:io.cilium.k8s.namespace.labels.team=blue'),
  web2: identity(1004, 'k8s:app=web', `${NS}=other`, 'k8s:io.cilium.k8s.namespace.labels.team=blue'),
  box: identity(1005, 'container:app=client'),
  starting: identity(1006, 'reserved:init', 'k8s:app=web'),
} as const;

export interface Flow {
  /** Of `PODS`, a reserved identity, or an address outside the cluster. */
  readonly peer: string;
  readonly subject?: keyof typeof PODS;
  readonly direction?: Direction;
  readonly protocol?: number;
  /** Destination port, or the type of ICMP. */
  readonly port?: number;
  /** What the subject calls its ports. */
  readonly namedPorts?: readonly NamedPort[];
}

export interface WorldOptions {
  readonly clusterPorts?: readonly NamedPort[];
  readonly allowLocalhost?: 'always' | 'policy';
}

/** A policy text in force in a cluster of `PODS`; each verdict is that of the rules as they read and of their compiled form. */
export class World {
  readonly repository = Repository.empty();
  readonly #resolver: PolicyResolver;
  readonly #options;
  readonly #identities = new Map<string, Identity>(Object.entries(PODS));
  readonly #clusterPorts: readonly NamedPort[];
  #inventory: PolicyInventory = EMPTY_INVENTORY;

  constructor(text: string, options: WorldOptions = {}) {
    this.#options = {
      mode: 'default',
      allowLocalhost: options.allowLocalhost ?? 'policy',
      clusterName: 'default',
    } as const;
    this.#clusterPorts = options.clusterPorts ?? [];
    this.#resolver = new PolicyResolver({ ...this.#options, proxyPorts: TEST_PROXY_PORTS });
    this.#resolver.updateIdentities({ upserts: Object.values(PODS) });
    this.#resolver.setNamedPorts(this.#clusterPorts);
    if (text !== '') this.apply(text);
    else this.#resolver.setRules(this.repository.snapshot());
  }

  /** Puts the objects of a text in force, in the place of their former versions; the services are those of this text. */
  apply(text: string): void {
    const { rules, errors, inventory } = parsePolicy(text, { file: 'case.yaml' });
    assert.deepEqual(errors, []);
    this.#inventory = inventory;
    this.#resolver.setInventory(inventory);
    this.repository.upsert(rules.map(({ rule }) => rule));
    this.#resolver.setRules(this.repository.snapshot());
  }

  /** Gives a pod other labels, as a namespace does that is labelled anew: an identity of their own. */
  relabel(name: keyof typeof PODS, id: number, ...labels: readonly string[]): void {
    const next = identity(id, ...labels);
    this.#identities.set(name, next);
    this.#resolver.updateIdentities({ upserts: [next] });
  }

  #known(name: string): Identity | undefined {
    return this.#identities.get(name) ?? reservedIdentity(name);
  }

  /** The identity that the ipcache gives an address outside. */
  #identityAt(address: string): number {
    const bytes = parseIp(address);
    const prefixes = this.#resolver.prefixes();
    const set = new PrefixSet(prefixes.map(({ prefix }) => prefix));
    const found = set.narrowest({ family: ipFamily(bytes), bytes, length: bytes.length * 8 });
    const text = found === undefined ? undefined : formatCidr(found);
    return prefixes.find(({ prefix }) => formatCidr(prefix) === text)?.identity.id ?? 2;
  }

  /** `allow`, `redirect`, `deny 133`, `deny 181`. */
  verdict(flow: Flow): string {
    const { peer, subject = 'web', direction = 'ingress', protocol = TCP, port = 80, namedPorts = [] } = flow;
    const own = this.#known(subject);
    assert.ok(own !== undefined);
    const known = this.#known(peer);
    const world = RESERVED_IDENTITIES.find(({ id }) => id === 2);
    assert.ok(world !== undefined);
    const { mapState, enforcement } = this.#resolver.resolve(own, namedPorts);
    const id = known?.id ?? this.#identityAt(peer);
    const compiled = evaluateMapState(mapState, enforcement, { direction, identity: id, protocol, port });
    const rules = this.repository.snapshot().rules.map(({ rule }) => rule);
    const naive = evaluateNaive(
      rules,
      { ...this.#options, clusterPorts: this.#clusterPorts, inventory: this.#inventory },
      {
        subject: own,
        namedPorts,
        peer: known ?? world,
        ...(known === undefined && { peerAddress: parseIp(peer) }),
        direction,
        protocol,
        port,
      },
    );
    const text = (verdict: { kind: string; reason?: number }): string =>
      verdict.kind === 'deny' ? `deny ${verdict.reason}` : verdict.kind;
    assert.equal(text(compiled), text(naive), `compiled and naive on ${JSON.stringify(flow)}`);
    return text(compiled);
  }

  passes(flow: Flow): boolean {
    return !this.verdict(flow).startsWith('deny');
  }

  /** Those of `peers` that get in. */
  who(peers: readonly string[], flow: Omit<Flow, 'peer'> = {}): readonly string[] {
    return peers.filter((peer) => this.passes({ ...flow, peer }));
  }

  /** What the proxy answers a request from a pod to the subject's port 80 over a flow that was redirected: its status. */
  request(peer: string, method: string, target: string, host = 'web'): number {
    const server = this.#known('web');
    assert.ok(server !== undefined);
    this.#resolver.resolve(server);
    const endpoint = { endpoint: 1, identity: server.id, addresses: ['10.0.0.1'] };
    const table = new PolicyTable(this.#resolver.l7Policy(), [endpoint]);
    const client = this.#known(peer)?.id ?? 0;
    const ends = [
      { address: '10.0.0.9', port: 4000 },
      { address: '10.0.0.1', port: 80 },
    ] as const;
    const flow = table.flow(...ends, { client, server: server.id });
    const judges = new HttpJudge((problem) => assert.fail(problem)).prepare(table, flow);
    assert.ok(judges !== undefined);
    const understood = readTarget(method, target, host);
    if (typeof understood === 'string') return 400;
    const judged = { method, hostText: host, understood, joined: () => undefined, disguised: () => [] };
    return judgeRequest(judges, judged, 'ingress').allowed ? 200 : 403;
  }
}

/** An object of the namespace `default`, or of no namespace when it is clusterwide. */
export function object(spec: string, name = 'p', more = ''): string {
  const kind = more === 'clusterwide' ? 'CiliumClusterwideNetworkPolicy' : 'CiliumNetworkPolicy';
  const namespace = more === '' || more === 'clusterwide' ? '' : `, namespace: ${more}`;
  return `---\napiVersion: cilium.io/v2\nkind: ${kind}\nmetadata: {name: ${name}${namespace}}\nspec:\n  ${spec.trim().replaceAll('\n', '\n  ')}\n`;
}

/** An object for `web` with these ingress items, written as a flow sequence. */
export const ingress = (items: string, more = ''): string =>
  object(`endpointSelector: {matchLabels: {app: web}}\ningress: ${items}`, 'p', more);

/** A NetworkPolicy of the namespace `default`, its spec written as a flow mapping. */
export const networkPolicy = (spec: string): string =>
  `---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: default}\nspec: ${spec}\n`;
