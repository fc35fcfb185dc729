import { closeSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProxyClient } from '../../src/agent/proxy-client.ts';
import { inheritedByProxy } from '../../src/agent/proxy-launch.ts';
import { silentLog } from '../../src/base/log.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import type { AccessLogRecord, L7SubjectPolicy, ProxyPorts } from '../../src/model/l7.ts';
import { PROXY_MARK, type ProxyListener } from '../../src/model/proxy-protocol.ts';
import { type allow, DatapathLab, type Pod, stateOf } from './datapath-lab.ts';
import { NetSockets } from './net-sockets.ts';
import { eventually, type StartedProcess, startProcess } from './process.ts';

const FIRST_PORT = 15_100;

/** A node with two pods, a machine beside it, and the shipped proxy with the datapath's descriptors. */
export class L7Lab {
  readonly datapaths: DatapathLab;
  readonly records: AccessLogRecord[] = [];
  readonly #names: readonly (keyof ProxyPorts)[];
  readonly #folder = mkdtempSync(join(tmpdir(), 'ciliate-l7-'));
  readonly #socket = join(this.#folder, 'proxy.sock');
  readonly #agent: ProxyClient;
  sockets = new NetSockets();
  a!: Pod;
  b!: Pod;
  #proxy: StartedProcess | undefined;
  #revision = 0;

  /** @param names of the listeners that the proxy gets */
  constructor(letter: string, names: readonly (keyof ProxyPorts)[]) {
    this.datapaths = new DatapathLab(letter);
    this.#names = names;
    this.#agent = new ProxyClient(this.#socket, {
      log: silentLog,
      onRecords: (records) => this.records.push(...records),
      onLost: () => undefined,
      onCounters: () => undefined,
      onObservation: () => undefined,
    });
  }

  async start(): Promise<void> {
    const lab = this.datapaths;
    await lab.start();
    this.a = await lab.pod(10, 1000);
    this.b = await lab.pod(11, 2000);
    for (const { endpoint } of [this.a, this.b]) await lab.datapath.attachEndpoint(endpoint);
    await this.#startProxy();
    this.#agent.start();
    await this.setL7([]);
  }

  portOf(name: keyof ProxyPorts): number {
    return FIRST_PORT + this.#names.indexOf(name);
  }

  #listeners(): readonly ProxyListener[] {
    const netns = this.path(this.datapaths.node);
    return this.#names.map((name) => {
      const bind = { address: '127.0.0.1', port: this.portOf(name) };
      const fd = loadSockets().openSocket({
        ...{ family: 4, type: 'stream', netns, mark: PROXY_MARK, transparent: true, listen: 512, bind },
      });
      return { name, transport: 'tcp4', fd };
    });
  }

  async #startProxy(): Promise<void> {
    const inherited = inheritedByProxy(this.#listeners(), this.datapaths.datapath.openConntrack?.());
    const words = inherited.flatMap(({ words }, place) => words(3 + place));
    const argv = ['nsenter', `--net=${this.path(this.datapaths.node)}`, '--', 'bin/ciliate', 'proxy'];
    const fds = inherited.map(({ fd }) => fd);
    const folders = ['--state-dir', this.#folder, '--bpf-dir', this.datapaths.bpfDir];
    try {
      this.#proxy = await startProcess([...argv, ...words, ...folders], { inherit: fds });
      await eventually('the proxy serves', () => {
        if (this.#proxy?.child.exitCode !== null) throw new Error(this.output());
        return existsSync(this.#socket) || undefined;
      });
    } finally {
      for (const fd of fds) closeSync(fd);
    }
  }

  /** Makes this the proxy's policy, and waits until it is; endpoints have the identities that they were made with. */
  setL7(subjects: readonly L7SubjectPolicy[]): Promise<void> {
    const endpoints = [this.a, this.b].map(({ endpoint: { id, identity }, ipv4, ipv6 }) => ({
      endpoint: id,
      identity,
      addresses: [ipv4, ipv6],
    }));
    return this.#agent.push({ revision: ++this.#revision, subjects }, endpoints);
  }

  /** Brings a pod's policy map to these entries; directions with entries are enforced. */
  async setPolicy(pod: Pod, entries: readonly ReturnType<typeof allow>[], identity?: number): Promise<void> {
    const { datapath } = this.datapaths;
    const names = (direction: 'ingress' | 'egress'): boolean =>
      entries.some(({ key }) => key.direction === direction);
    const enforcement = { ingress: names('ingress'), egress: names('egress') };
    await datapath.applyPolicy(pod.endpoint.id, stateOf(entries), { ...enforcement, identity });
  }

  path(namespace: string): string {
    return this.datapaths.net.path(namespace);
  }

  /** Fresh sockets, and no records. */
  reset(): void {
    this.sockets.close();
    this.sockets = new NetSockets();
    this.records.length = 0;
  }

  async cleanUp(): Promise<void> {
    this.sockets.close();
    this.#agent.stop();
    await this.#proxy?.stop();
    await this.datapaths.cleanUp();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** What the proxy wrote. */
  output(): string {
    return this.#proxy?.output() ?? '';
  }
}
