import type { Probe, ProbeCounters, ProbeProtocol, ProbeResult } from '../../probes/types.ts';
import type { NodeElement } from '../../src/api/schema.ts';
import type { NodeProvider, NodeView } from '../../src/health/index.ts';
import { type HealthNode, healthNode } from '../../src/health/targets.ts';

export const noCounters: ProbeCounters = {
  sent: 0,
  replies: 0,
  lost: 0,
  failed: 0,
  late: 0,
  duplicate: 0,
  reordered: 0,
  foreign: 0,
  corrupt: 0,
  ownDrops: 0,
  clockSteps: 0,
  unstamped: 0,
};

export const reply = (latencyNs: number): ProbeResult => ({ kind: 'reply', latencyNs });
export const lost: ProbeResult = { kind: 'failure', failure: { kind: 'timeout', text: 'no reply' } };
export const refused: ProbeResult = {
  kind: 'failure',
  failure: { kind: 'refused', text: 'connection refused' },
};

/** A probe whose answers a test gives. */
export class FakeProbe implements Probe {
  readonly protocol: ProbeProtocol;
  readonly asked: string[] = [];
  answer: (address: string) => ProbeResult | Promise<ProbeResult>;
  ready = true;

  constructor(protocol: ProbeProtocol, answer: FakeProbe['answer']) {
    this.protocol = protocol;
    this.answer = answer;
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  readiness(): ReturnType<Probe['readiness']> {
    return this.ready ? { ready: true, mode: 'fake' } : { ready: false, reason: 'not permitted' };
  }

  async probe(address: string): Promise<ProbeResult> {
    this.asked.push(address);
    return this.ready ? this.answer(address) : { kind: 'not-probed', reason: 'not permitted' };
  }

  counters(): ProbeCounters {
    return noCounters;
  }
}

/** A node list that a test changes. */
export class FakeNodes implements NodeProvider {
  stale: NodeView['stale'];
  readonly #self: string;
  readonly #listeners: (() => void)[] = [];
  #nodes: readonly HealthNode[];

  constructor(self: string, nodes: readonly NodeElement[]) {
    this.#self = self;
    this.#nodes = nodes.map(healthNode);
  }

  set(nodes: readonly NodeElement[]): void {
    this.#nodes = nodes.map(healthNode);
    for (const listener of this.#listeners) listener();
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  view(): NodeView {
    return { self: this.#self, nodes: this.#nodes, stale: this.stale };
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}

/** A node as the agent lists it. */
export function element(name: string, ipv4: string, healthIp?: string): NodeElement {
  return {
    name,
    'primary-address': { ipv4: { enabled: true, ip: ipv4 }, ipv6: { enabled: false } },
    'secondary-addresses': null,
    ...(healthIp === undefined
      ? {}
      : { 'health-endpoint-address': { ipv4: { enabled: true, ip: healthIp }, ipv6: {} } }),
  };
}
