import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, beforeEach } from 'node:test';
import {
  type allow,
  DatapathLab,
  NODE4,
  NODE6,
  type Pod,
  REMOTE4,
  REMOTE6,
  stateOf,
} from './datapath-lab.ts';
import { firstBytes, NetSockets } from './net-sockets.ts';
import { eventually, type StartedProcess, startProcess } from './process.ts';

export const PROXY_PORT = 15_001;
export const INGRESS = { ingress: true, egress: false };
export const EGRESS = { ingress: false, egress: true };
export const OPEN = { ingress: false, egress: false };

/** A node with two pods and the least transparent proxy as a process of its own. */
export class RedirectLab {
  readonly datapaths: DatapathLab;
  sockets = new NetSockets();
  a!: Pod;
  b!: Pod;
  #proxy: StartedProcess | undefined;

  constructor(letter: string) {
    this.datapaths = new DatapathLab(letter);
  }

  /** Of the suite that calls it: starts before its first test, is as new before each, and goes after the last. */
  serveSuite(): void {
    before(() => this.start());
    beforeEach(() => this.reset());
    after(() => this.cleanUp());
  }

  async start(): Promise<void> {
    const lab = this.datapaths;
    await lab.start();
    this.a = await lab.pod(10, 1000);
    this.b = await lab.pod(11, 2000);
    for (const { endpoint } of [this.a, this.b]) await lab.datapath.attachEndpoint(endpoint);
    for (const address of [REMOTE4, REMOTE6])
      await eventually(`the way to ${address}`, async () => (await lab.ping(lab.node, address)) || undefined);
    await this.startProxy();
  }

  async startProxy(): Promise<void> {
    const own = JSON.stringify([NODE4, NODE6]);
    const argv = ['nsenter', `--net=${this.path(this.datapaths.node)}`, '--', process.execPath];
    const words = ['test/datapath/redirect-proxy.ts', String(PROXY_PORT), own];
    this.#proxy = await startProcess([...argv, ...words]);
    await this.#proxy.waitForLine(/^ready$/);
  }

  async stopProxy(signal?: NodeJS.Signals): Promise<void> {
    await this.#proxy?.stop(signal);
  }

  /** Open policies, fresh sockets, no events. */
  async reset(): Promise<void> {
    this.sockets.close();
    this.sockets = new NetSockets();
    await this.setPolicy(this.a, [], OPEN);
    await this.setPolicy(this.b, [], OPEN);
    this.datapaths.events.length = 0;
  }

  async cleanUp(): Promise<void> {
    this.sockets.close();
    await this.stopProxy();
    await this.datapaths.cleanUp();
  }

  path(namespace: string): string {
    return this.datapaths.net.path(namespace);
  }

  async setPolicy(pod: Pod, entries: readonly ReturnType<typeof allow>[], enforcement = INGRESS) {
    const { datapath } = this.datapaths;
    await datapath.applyPolicy(pod.endpoint.id, stateOf(entries), enforcement);
  }

  /** How often the proxy has told of a flow. */
  seenByProxy(pattern: RegExp): number {
    const lines = this.#proxy?.output().split('\n') ?? [];
    return lines.filter((line) => pattern.test(line)).length;
  }

  drops(): readonly number[] {
    return this.datapaths.events.flatMap((event) => (event.kind === 'drop' ? [event.reason] : []));
  }

  async dropped(reason: number): Promise<void> {
    await eventually(`a drop for ${reason}`, () => this.drops().includes(reason) || undefined);
  }

  /** A server that says who speaks to it, and what it was told. */
  async serve(namespace: string, address: string, port: number): Promise<Socket[]> {
    const accepted: Socket[] = [];
    await this.sockets.listen(this.path(namespace), address, port, (socket) => {
      accepted.push(socket);
      const { remoteAddress, remotePort } = socket;
      socket.on('data', (bytes) => socket.write(`${remoteAddress}/${remotePort} ${bytes}`));
      socket.on('end', () => socket.end());
    });
    return accepted;
  }

  connect(
    namespace: string,
    address: string,
    port: number,
    from?: { readonly address: string; readonly port: number },
    waitMs?: number,
  ) {
    return this.sockets.connect(this.path(namespace), address, port, from, waitMs);
  }
}

/** Says something and waits for the first answer. */
export async function say(socket: Socket | undefined, text: string): Promise<string | undefined> {
  assert.ok(socket, 'connected');
  const answer = firstBytes(socket);
  socket.write(text);
  return answer;
}
