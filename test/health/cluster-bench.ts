import type { ProbeResult } from '../../probes/types.ts';
import type { NodeElement } from '../../src/api/schema.ts';
import { silentLog } from '../../src/base/log.ts';
import { createHealth, type Health, RequestProber } from '../../src/health/index.ts';
import type { RowTransport } from '../../src/health/mesh/index.ts';
import type { Responder } from '../../src/model/health.ts';
import { FakeNodes, FakeProbe, lost, reply } from './fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

/** How long a message between two nodes takes, each way. */
const WAY_MS = 2;
const TIMEOUT_MS = 2000;

/** Health agents of a whole cluster that exchange their rows, on one virtual clock. */
export class ClusterBench {
  readonly clock = new VirtualClock();
  /** Whether packets pass from one node to another, and back. */
  passes: (from: string, to: string) => boolean = () => true;
  /** Whether a node takes messages of another, where packets pass. */
  takes: (from: string, to: string) => boolean = () => true;
  /** What comes of a probe, where packets pass; undefined: its answer. */
  instead: (responder: Responder, from: string, to: string) => ProbeResult | undefined = () => undefined;
  readonly #healths = new Map<string, Health>();
  readonly #names: ReadonlyMap<string, string>;

  constructor(elements: readonly NodeElement[]) {
    this.#names = new Map(elements.map((one) => [addressOf(one), one.name ?? '']));
    for (const one of elements) this.#healths.set(one.name ?? '', this.#make(one, elements));
  }

  #make(self: NodeElement, elements: readonly NodeElement[]): Health {
    const name = self.name ?? '';
    const { clock } = this;
    const prober = (responder: Responder, latencyNs: number): RequestProber => {
      const answer: FakeProbe['answer'] = (to) => {
        if (!this.#passesTo(name, to)) return lost;
        return this.instead(responder, name, this.#names.get(to) ?? '') ?? reply(latencyNs);
      };
      const host = new FakeProbe(responder === 'http' ? 'http' : 'icmp', answer);
      return new RequestProber({ responder, probes: { host }, clock, random: () => 0 });
    };
    return createHealth(
      { interval: { kind: 'fixed', ms: 1000 } },
      {
        nodes: new FakeNodes(name, elements),
        probers: [prober('echo', 10_000), prober('icmp', 20_000), prober('http', 300_000)],
        clock,
        log: silentLog,
        rows: this.#transport(name, addressOf(self)),
      },
    );
  }

  #passesTo(from: string, address: string): boolean {
    return this.passes(from, this.#names.get(address) ?? '');
  }

  #transport(from: string, source: string): RowTransport {
    const wait = (ms: number): Promise<void> =>
      new Promise((resolve) => void this.clock.after(ms, () => resolve()));
    return {
      send: async (to, request, body) => {
        const name = this.#names.get(to) ?? '';
        const isTaken = this.passes(from, name) && this.takes(from, name);
        await wait(isTaken ? WAY_MS : TIMEOUT_MS);
        if (!isTaken) throw new Error('no answer');
        const answer = this.health(name).rows.answer(request, source, body);
        if (answer.kind === 'malformed') throw new Error(answer.reason);
        await wait(WAY_MS);
        return answer.body;
      },
      stop: () => Promise.resolve(),
    };
  }

  health(name: string): Health {
    const found = this.#healths.get(name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  async start(): Promise<void> {
    for (const health of this.#healths.values()) await health.start();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#healths.values()].map((health) => health.stop()));
  }

  /** Verdicts at a node as short text. */
  told(name: string): string[] {
    return this.health(name)
      .diagnosis()
      .verdicts.map(({ fault, place }) => `${fault} ${Object.values(place).join(' ')}`);
  }
}

function addressOf(one: NodeElement): string {
  return one['primary-address']?.ipv4?.ip ?? '';
}
