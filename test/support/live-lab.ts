import assert from 'node:assert/strict';
import { join } from 'node:path';
import { loadBpf } from '../../bpf/addon/index.ts';
import type * as Api from '../../src/api/schema.ts';
import { formatCidr } from '../../src/base/ip.ts';
import { type MapReader, openMapReader } from '../../src/datapath/map-reader.ts';
import { pinFolders } from '../../src/datapath/pins.ts';
import { agentClient } from '../../src/lab/agent-process.ts';
import { policyRealized } from '../../src/lab/demo/observe.ts';
import { netnsPath } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { isAlive } from '../../src/lab/processes.ts';
import { dropReasonText, MapName } from '../../src/model/constants.gen.ts';
import { parsePolicy, policyText } from '../../src/policy/index.ts';
import { startTestLab, type TestLab } from '../e2e/lab-support.ts';
import { makeOutside, OUTSIDE } from './outside.ts';
import { eventually } from './process.ts';

/** More addresses of the machine outside. */
const MORE_OUTSIDE = [
  ...['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.200', '198.51.100.7'],
  ...['2001:db8::1', '2001:db8::7'],
] as const;

/** Few, so that a test can fill them. */
const CONNTRACK_ENTRIES = 16_384;
/** Cases tell by the drops that rose: none may come from the denied path that health probes. */
const AGENT_WORDS = [`--conntrack-entries=${CONNTRACK_ENTRIES}`, '--no-health-policy-paths'];

/** Somebody who sends or is sent to: a workload, a node, or `outside`, the machine outside of the cluster. */
export interface Place {
  /** Path of the namespace. */
  readonly netns: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** A lab of two nodes with agents and datapath as they ship, and a machine outside; policies change by the agents' API. */
export class LiveLab {
  readonly #readers = new Map<string, MapReader>();
  #testLab: TestLab | undefined;
  #outside = '';

  get lab(): Lab {
    assert.ok(this.#testLab !== undefined, 'the lab is started');
    return this.#testLab.lab;
  }

  async start(): Promise<void> {
    this.#testLab = await startTestLab(2, AGENT_WORDS);
    this.#outside = await makeOutside(this.lab, MORE_OUTSIDE);
  }

  async stop(): Promise<void> {
    for (const reader of this.#readers.values()) reader.close();
    await this.#testLab?.tearDown();
  }

  place(name: string): Place {
    if (name === 'outside') return { netns: netnsPath(this.#outside), ipv4: OUTSIDE[4], ipv6: OUTSIDE[6] };
    const node = this.lab.layout.nodes.find((candidate) => candidate.name === name);
    const { netns = '', ipv4 = '', ipv6 = '' } = node ?? this.lab.workload(name);
    return { netns: netnsPath(netns), ipv4, ipv6 };
  }

  address(name: string, family: 4 | 6 = 4): string {
    const { ipv4, ipv6 } = this.place(name);
    return family === 4 ? ipv4 : ipv6;
  }

  /** Takes all rules away, then puts those of a text in force, with its services. */
  async policy(text: string): Promise<void> {
    for (const node of this.lab.layout.nodes) {
      const client = agentClient(node);
      if ((await client.policyRules()).length === 0) continue;
      const { revision = 0 } = await client.deletePolicy([]);
      if (text === '') await policyRealized(node, revision);
    }
    if (text !== '') await this.change(text);
  }

  /** Puts the objects of a text in the place of their former versions, and waits until all endpoints have them. */
  async change(text: string): Promise<void> {
    const { rules, errors, inventory } = parsePolicy(text, { file: 'case.yaml' });
    assert.deepEqual(errors, []);
    const all = rules.map(({ rule }) => rule);
    const nodes = this.lab.layout.nodes;
    const revisions = await Promise.all(
      nodes.map((node) => agentClient(node).putPolicy(policyText(all, inventory))),
    );
    await Promise.all(nodes.map((node, i) => policyRealized(node, revisions[i]?.revision ?? 0)));
  }

  /** Waits until both nodes balance a frontend over exactly these backends, by their addresses. */
  async balanced(address: string, port: number, backends: readonly string[]): Promise<void> {
    const wanted = [...backends].sort().join(' ');
    const has = async (node: Parameters<typeof agentClient>[0]): Promise<boolean> => {
      const found = (await agentClient(node).services()).find(({ spec }) => {
        const frontend = spec?.['frontend-address'];
        return frontend?.ip === address && frontend.port === port;
      });
      const realized = found?.status?.realized?.['backend-addresses'] ?? [];
      return (
        found !== undefined &&
        wanted ===
          realized
            .map(({ ip }) => ip)
            .sort()
            .join(' ')
      );
    };
    await eventually(`${address}:${port} has ${wanted === '' ? 'no backends' : wanted}`, async () => {
      const all = await Promise.all(this.lab.layout.nodes.map(has));
      return all.every(Boolean) || undefined;
    });
  }

  endpoint(name: string): Promise<Api.Endpoint> {
    const { node, endpointId } = this.lab.workload(name);
    return agentClient(this.lab.node(node)).endpoint(String(endpointId));
  }

  /** Replaces the labels of a workload, and waits until both nodes know its address by the new identity. */
  async relabel(name: string, labels: readonly string[]): Promise<void> {
    const { node, endpointId } = this.lab.workload(name);
    const before = (await this.endpoint(name)).status?.identity?.id;
    const client = agentClient(this.lab.node(node));
    await client.patchEndpointLabels(String(endpointId), { user: [...labels] });
    await eventually(`another identity of ${name}`, async () => {
      const { status } = await this.endpoint(name);
      return (status?.identity?.id !== before && status?.state === 'ready') || undefined;
    });
    await this.known(name);
  }

  /** Waits until both nodes have the address of a workload with the identity that it has. */
  async known(name: string): Promise<void> {
    const identity = (await this.endpoint(name)).status?.identity?.id;
    const prefix = `${this.address(name)}/32`;
    const identityAt = (node: string): number | undefined =>
      [...this.reader(node).ipcache()].find((entry) => formatCidr(entry.prefix) === prefix)?.identity;
    await eventually(
      `${name} is ${identity} at both nodes`,
      () => this.lab.layout.nodes.every((node) => identityAt(node.name) === identity) || undefined,
    );
  }

  /** Lets an agent start anew after it was killed. @param extra more words for `ciliate agent` */
  async restartAgent(nodeName: string, extra: readonly string[] = []): Promise<void> {
    this.killAgent(nodeName);
    await this.lab.startAgent(nodeName, { datapath: 'bpf', extra: [...AGENT_WORDS, ...extra] });
  }

  /** Kills an agent, if it runs, so that it can put nothing in order. */
  killAgent(nodeName: string): void {
    const ref = this.lab.record.agents[nodeName];
    if (ref !== undefined && isAlive(ref)) process.kill(ref.pid, 'SIGKILL');
  }

  /** Waits until a workload's identity has labels, or has not, as `wanted` says of their texts. */
  async identified(name: string, wanted: (labels: readonly string[]) => boolean): Promise<void> {
    await eventually(`the identity of ${name}`, async () => {
      const { status } = await this.endpoint(name);
      return (status?.state === 'ready' && wanted(status.identity?.labels ?? [])) || undefined;
    });
    await this.known(name);
  }

  /** In the place of a workload's endpoint another one with its link and addresses: another pod. */
  async replace(name: string, labels: readonly string[]): Promise<void> {
    const { node, endpointId } = this.lab.workload(name);
    const client = agentClient(this.lab.node(node));
    const link = (await this.endpoint(name)).status?.networking;
    const [addressing = {}] = link?.addressing ?? [];
    await client.deleteEndpoint(String(endpointId));
    await client.putEndpoint(String(endpointId), {
      id: endpointId,
      'container-id': `${name}-again`,
      'k8s-pod-name': `${name}-again`,
      'k8s-namespace': 'default',
      labels: [...labels],
      state: 'waiting-for-identity',
      addressing,
      'interface-name': link?.['interface-name'],
      'interface-index': link?.['interface-index'],
      mac: link?.mac,
      'host-mac': link?.['host-mac'],
      'sync-build-endpoint': true,
    });
  }

  /** How many flows of IPv4 a node has room for. */
  conntrackEntries(node: string): number {
    const path = join(pinFolders(this.lab.node(node).paths.bpfDir).maps, MapName.ct4);
    const map = loadBpf().openPinnedMap(path);
    assert.equal(map?.info.maxEntries, CONNTRACK_ENTRIES);
    map?.close();
    return CONNTRACK_ENTRIES;
  }

  /** The maps of a node as the kernel has them. */
  reader(node: string): MapReader {
    const reader = this.#readers.get(node) ?? openMapReader(this.lab.node(node).paths.bpfDir, loadBpf());
    this.#readers.set(node, reader);
    return reader;
  }

  /** Packets that all nodes dropped so far, for one reason or for any. */
  drops(reason?: number): number {
    return this.lab.layout.nodes
      .flatMap(({ name }) => this.reader(name).counters())
      .filter((counter) => counter.reason === (reason ?? counter.reason) && counter.reason in dropReasonText)
      .reduce((sum, { packets }) => sum + Number(packets), 0);
  }
}
