import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent } from '../../src/agent/agent.ts';
import type { AgentDeps, EventSink } from '../../src/agent/agent-deps.ts';
import { noHealth } from '../../src/agent/health-part.ts';
import type { NetworkSetup } from '../../src/agent/network-setup.ts';
import { type AgentOptions, defaultAgentOptions } from '../../src/agent/options.ts';
import { noProxy } from '../../src/agent/proxy-part.ts';
import { AgentClient } from '../../src/api/client.ts';
import type * as Api from '../../src/api/schema.ts';
import { parseCidr } from '../../src/base/ip.ts';
import { silentLog } from '../../src/base/log.ts';
import { nodePaths } from '../../src/base/paths.ts';
import type { ConntrackFlow } from '../../src/datapath/index.ts';
import type { Datapath } from '../../src/datapath/types.ts';
import type { MonitorEvent } from '../../src/model/event.ts';
import { LocalStore } from '../../src/store/index.ts';
import { FakeDatapath, FakeKernel } from '../support/fake-datapath.ts';

/** Interfaces and routes in memory. */
export class FakeNetwork implements NetworkSetup {
  /** Name -> index. */
  readonly interfaces = new Map<string, number>();
  /** Name -> kind, of those that are no veth. */
  readonly kinds = new Map<string, string>();
  readonly endpoints = new Set<number>();
  routes: string[] = [];
  failAdd: Error | undefined;

  async prepareNode(): Promise<void> {
    this.routes = [];
  }
  async addEndpoint(spec: { id: number }): Promise<void> {
    if (this.failAdd !== undefined) throw this.failAdd;
    this.endpoints.add(spec.id);
  }
  async removeEndpoint(spec: { id: number }): Promise<void> {
    this.endpoints.delete(spec.id);
  }
  async syncNodes(nodes: readonly { name: string; ipv4AllocRange: string | undefined }[]): Promise<void> {
    this.routes = nodes.map(({ name, ipv4AllocRange }) => `${ipv4AllocRange ?? '-'} via ${name}`).sort();
  }
  async interfaceIndex(name: string): Promise<number | undefined> {
    return this.interfaces.get(name);
  }
  async interfaceKind(name: string): Promise<string | undefined> {
    return this.kinds.get(name) ?? (this.interfaces.has(name) ? 'veth' : undefined);
  }
  async removeAll(): Promise<void> {
    this.routes = [];
  }
}

/** Everything of one node that outlives its agent, and a way to start agents on it. */
export class NodeFixture {
  readonly name: string;
  readonly folder: string;
  readonly storeFile: string;
  readonly kernel = new FakeKernel();
  readonly network = new FakeNetwork();
  readonly events: MonitorEvent[] = [];
  datapath: FakeDatapath = new FakeDatapath(this.kernel);
  /** What conntrack holds. */
  flows: ConntrackFlow[] = [];
  /** What the store answers to whoever asks for an identity. */
  failStore: Error | undefined;
  /** What stands for the proxy. */
  proxy: AgentDeps['proxy'] = () => noProxy;
  /** Options of the next agent beside those of every node. */
  options: Partial<AgentOptions> = {};
  #agent: Agent | undefined;
  readonly #index: number;

  constructor(root: string, index: number) {
    this.name = `n${index}`;
    this.#index = index;
    this.folder = join(root, this.name);
    this.storeFile = join(root, 'store.db');
  }

  get paths() {
    return nodePaths(this.folder, join(this.folder, 'bpf'));
  }

  get client(): AgentClient {
    return new AgentClient({ address: { kind: 'unix', path: this.paths.agentSocket } });
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error('no agent runs');
    return this.#agent;
  }

  /** Makes an agent without starting it. */
  make(datapath?: Datapath): Agent {
    this.datapath = new FakeDatapath(this.kernel);
    const sink: EventSink = {
      start: async () => undefined,
      stop: async () => undefined,
      heard: () => true,
      publish: (events) => void this.events.push(...events),
      lost: () => 0,
    };
    return new Agent({
      options: {
        ...defaultAgentOptions(),
        'node-name': this.name,
        'state-dir': this.folder,
        'ipv4-range': parseCidr(`10.0.${this.#index}.0/24`),
        'ipv6-range': parseCidr(`fd00:${this.#index}::/112`),
        'cluster-cidrs': [parseCidr('10.0.0.0/16')],
        'metrics-address': undefined,
        'liveness-address': undefined,
        ...this.options,
      },
      paths: this.paths,
      node: { ipv4: `192.0.2.${this.#index}`, ipv6: undefined, devices: ['uplink0'] },
      version: '0.0.0-test',
      storeSpec: `local:${this.storeFile}`,
      store: this.#store(),
      datapath: datapath ?? this.datapath,
      flows: () => this.flows,
      network: this.network,
      events: sink,
      health: () => noHealth,
      proxy: this.proxy,
      log: silentLog,
    });
  }

  #store(): LocalStore {
    const quiet = { info: () => undefined, warn: () => undefined };
    const store = new LocalStore({ path: this.storeFile, pollMs: 50 }, { log: quiet });
    const allocate = store.allocateIdentity.bind(store);
    store.allocateIdentity = (labels) =>
      this.failStore === undefined ? allocate(labels) : Promise.reject(this.failStore);
    return store;
  }

  /** Makes nonsense of every file with rules. */
  corruptRules(): void {
    for (const file of ['policy.json', 'policy.backup.json']) writeFileSync(join(this.folder, file), '{');
  }

  async start(datapath?: Datapath): Promise<Agent> {
    const agent = this.make(datapath);
    await agent.start();
    this.#agent = agent;
    return agent;
  }

  async stop(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }
}

/** Nodes that share a store, in a folder that `dispose` removes. */
export class ClusterFixture {
  readonly root = mkdtempSync(join(tmpdir(), 'ciliate-agent-'));
  readonly nodes: NodeFixture[] = [];

  node(index: number): NodeFixture {
    const made = new NodeFixture(this.root, index);
    this.nodes.push(made);
    return made;
  }

  async dispose(): Promise<void> {
    for (const node of this.nodes) await node.stop();
    rmSync(this.root, { recursive: true, force: true });
  }
}

let interfaces = 10;

/** A request for an endpoint whose interface exists on the node. */
export function request(
  node: NodeFixture,
  labels: readonly string[],
  more: Partial<Api.EndpointChangeRequest> = {},
): Api.EndpointChangeRequest {
  const index = interfaces++;
  const name = `lxc${index}`;
  node.network.interfaces.set(name, index);
  return {
    state: 'waiting-for-identity',
    labels: [...labels],
    'interface-name': name,
    'interface-index': index,
    mac: '02:00:00:00:00:01',
    'host-mac': '02:00:00:00:00:02',
    'sync-build-endpoint': true,
    ...more,
  };
}

/** Waits until `condition` holds, looking every 5 ms. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 5_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Lets `source` reach port 80 of `subject`, both by the label k8s:app. */
export function allowRule(name: string, subject: string, source: string): string {
  return JSON.stringify([
    {
      endpointSelector: { matchLabels: { 'k8s:app': subject } },
      ingress: [
        {
          fromEndpoints: [{ matchLabels: { 'k8s:app': source } }],
          toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }] }],
        },
      ],
      labels: [{ key: 'name', value: name, source: 'unspec' }],
    },
  ]);
}

/** Makes an endpoint with the label k8s:app. @returns its id */
export async function create(on: NodeFixture, app: string, address: string, id?: number): Promise<number> {
  const made = await on.client.putEndpoint(
    `cni-attachment-id:${app}`,
    request(on, [`k8s:app=${app}`], { addressing: { ipv4: address }, ...(id !== undefined && { id }) }),
  );
  return made?.id ?? 0;
}

/** Endpoints as `endpoint list` shows them, without their logs. */
export async function listed(on: NodeFixture): Promise<unknown[]> {
  const endpoints = await on.client.endpoints();
  return endpoints.map(({ id, status }) => ({
    id,
    identity: status?.identity?.id,
    labels: status?.identity?.labels,
    state: status?.state,
    enabled: status?.policy?.realized?.['policy-enabled'],
    revision: status?.policy?.realized?.['policy-revision'],
    addressing: status?.networking?.addressing,
  }));
}
