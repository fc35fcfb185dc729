import type { Probe, ProbeProtocol, ProbeReadiness, ProbeResult } from '../../probes/types.ts';
import type { HealthStatusResponse } from '../api/schema.ts';
import type { IpFamily } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import { attempt } from './attempts.ts';
import type { Clock } from './clock.ts';
import type { NodeProvider, NodeView } from './node-view.ts';
import { PathBook, type StateChange } from './path-book.ts';
import { type ProbeInterval, Schedule } from './schedule.ts';
import { statusResponse } from './status-response.ts';
import type { PathTarget } from './targets.ts';

export interface HealthOptions {
  readonly interval: ProbeInterval;
  /** ICMP echoes before a path counts as unreachable; the first reply decides. */
  readonly icmpTries?: number | undefined;
  readonly icmpSpacingMs?: number | undefined;
  /** How long `probeNow` takes at most; what has not ended by then keeps its last result. */
  readonly probeNowMs?: number | undefined;
}

/** One probe's outcome on a path, as it is counted. */
export interface ProbeObservation {
  readonly target: PathTarget;
  readonly protocol: ProbeProtocol;
  readonly result: ProbeResult;
}

export interface HealthDeps {
  readonly nodes: NodeProvider;
  readonly probes: Readonly<Record<ProbeProtocol, Probe>>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Sees every outcome: metrics. */
  readonly onProbe?: ((observation: ProbeObservation) => void) | undefined;
}

/** Measures reachability and latency from this node to every node and health endpoint. */
export interface Health {
  /** Starts the probes; resolves without waiting for results. */
  start(): Promise<void>;
  /** Releases everything. May be called twice. */
  stop(): Promise<void>;
  /** The last results, at once. */
  status(): HealthStatusResponse;
  /** Probes every path now, waits a bounded time, answers with what is known then. */
  probeNow(): Promise<HealthStatusResponse>;
  readonly book: PathBook;
  nodes(): NodeView;
  /** Length of a round in ms. */
  intervalMs(): number;
  readiness(protocol: ProbeProtocol, family: IpFamily): ProbeReadiness;
}

const PROTOCOLS = ['icmp', 'http'] as const;
const DEFAULT_TRIES = 3;
const DEFAULT_SPACING_MS = 100;
const DEFAULT_PROBE_NOW_MS = 1500;

class HealthAgent implements Health {
  readonly book = new PathBook();
  readonly #options: HealthOptions;
  readonly #deps: HealthDeps;
  readonly #schedule: Schedule;
  /** Paths with a probe under way, by protocol: a slow path is not probed twice at once. */
  readonly #underWay = new Map<string, Promise<void>>();
  #roundMs: number;
  #stopped = false;

  constructor(options: HealthOptions, deps: HealthDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#roundMs = deps.clock.wallMs();
    this.#schedule = new Schedule(options.interval, {
      clock: deps.clock,
      random: deps.random,
      keys: () => this.book.keys(),
      probe: (keys) => this.#probe(keys),
      onRound: () => {
        this.#roundMs = deps.clock.wallMs();
      },
    });
  }

  async start(): Promise<void> {
    const { nodes, probes } = this.#deps;
    nodes.onChange(() => this.#takeNodes());
    await Promise.all(PROTOCOLS.map((protocol) => probes[protocol].start()));
    this.#tellReadiness();
    await nodes.start();
    this.#takeNodes();
    if (!this.#stopped) this.#schedule.start();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#schedule.stop();
    await this.#deps.nodes.stop();
    await Promise.all(PROTOCOLS.map((protocol) => this.#deps.probes[protocol].stop()));
    await Promise.all(this.#underWay.values());
  }

  #tellReadiness(): void {
    for (const family of [4, 6] as const) {
      const ready = this.readiness('icmp', family);
      if (ready.ready) this.#deps.log.info({ family, mode: ready.mode }, 'ICMP probes are ready');
      else this.#deps.log.warn({ family, reason: ready.reason }, 'no ICMP probes: paths stay unknown');
    }
  }

  #takeNodes(): void {
    this.book.setNodes(this.#deps.nodes.view().nodes);
    this.#schedule.changed();
  }

  #probe(keys: readonly string[]): void {
    for (const key of keys) {
      for (const protocol of PROTOCOLS) void this.#probeOne(key, protocol);
    }
  }

  #probeOne(key: string, protocol: ProbeProtocol): Promise<void> {
    const name = `${protocol} ${key}`;
    const running = this.#underWay.get(name);
    if (running !== undefined) return running;
    const target = this.book.get(key)?.target;
    if (target === undefined || this.#stopped) return Promise.resolve();
    const ended = this.#attempt(target, protocol)
      .then(({ result, losses, outcomes }) => {
        // A result of a path that was removed meanwhile is of nobody.
        if (this.book.get(key) === undefined || this.#stopped) return;
        for (const outcome of outcomes) this.#deps.onProbe?.({ target, protocol, result: outcome });
        const change = this.book.note(key, protocol, { result, losses, atMs: this.#deps.clock.wallMs() });
        if (change !== undefined) this.#tell(change);
      })
      .finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, ended);
    return ended;
  }

  #attempt(target: PathTarget, protocol: ProbeProtocol): ReturnType<typeof attempt> {
    const { icmpTries = DEFAULT_TRIES, icmpSpacingMs = DEFAULT_SPACING_MS } = this.#options;
    const options = { tries: protocol === 'icmp' ? icmpTries : 1, spacingMs: icmpSpacingMs };
    return attempt(this.#deps.probes[protocol], target.address, options, this.#deps.clock);
  }

  #tell({ target, protocol, from, to, reason }: StateChange): void {
    const { node, kind, address } = target;
    const fields = { peer: node, kind, address, protocol, from, to, reason };
    if (to === 'unreachable') this.#deps.log.warn(fields, 'path is unreachable');
    else if (from !== 'unknown' || to !== 'reachable') this.#deps.log.info(fields, `path is ${to}`);
  }

  async probeNow(): Promise<HealthStatusResponse> {
    const { clock } = this.#deps;
    this.#roundMs = clock.wallMs();
    const all = this.book.keys().flatMap((key) => PROTOCOLS.map((protocol) => this.#probeOne(key, protocol)));
    let cancel: () => void = () => undefined;
    const limit = new Promise<void>((resolve) => {
      cancel = clock.after(this.#options.probeNowMs ?? DEFAULT_PROBE_NOW_MS, resolve);
    });
    await Promise.race([Promise.all(all), limit]);
    cancel();
    return this.status();
  }

  status(): HealthStatusResponse {
    return statusResponse({
      view: this.#deps.nodes.view(),
      book: this.book,
      roundMs: this.#roundMs,
      intervalMs: this.intervalMs(),
      icmp: { 4: this.readiness('icmp', 4), 6: this.readiness('icmp', 6) },
    });
  }

  nodes(): NodeView {
    return this.#deps.nodes.view();
  }

  intervalMs(): number {
    return this.#schedule.lengthMs;
  }

  readiness(protocol: ProbeProtocol, family: IpFamily): ProbeReadiness {
    return this.#deps.probes[protocol].readiness(family);
  }
}

export function createHealth(options: HealthOptions, deps: HealthDeps): Health {
  return new HealthAgent(options, deps);
}
