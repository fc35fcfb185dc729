import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createProbeEngine,
  type EngineMode,
  type EngineOptions,
  type EngineOrigin,
  type PathCounts,
  type ProbeEngine,
} from '../../probes/engine/index.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { NetnsLab } from './netns.ts';
import { ProbeFrames, type ProbeKind } from './probe-frames.ts';
import { until } from './until.ts';
import { compileWire, Wire } from './wire.ts';

/** The engine's addresses, and those of the peer that the test plays. */
export const HERE = { 4: '10.1.0.1', 6: 'fd01::1' } as const;
export const PEER = { 4: '10.1.0.66', 6: 'fd01::66' } as const;
export const PEER_MAC = '02:00:00:00:00:66';
const ENGINE_MAC = '02:00:00:00:00:01';

/** A probe engine in a namespace, with a wire in the place of its peer: the test sees each frame, and sends what it likes. */
export class WiredEngine {
  readonly #lab: NetnsLab;
  readonly #folder: string;
  #netns = '';
  #netnsFd = -1;
  #device = 0;
  #wire: Wire | undefined;
  #engine: ProbeEngine | undefined;
  #frames = new ProbeFrames('icmp4');
  /** The path to the peer. */
  path = -1;

  /** @param letter of the names of its namespaces */
  constructor(letter: string) {
    this.#lab = new NetnsLab(letter);
    this.#folder = mkdtempSync(join(tmpdir(), 'wired-engine-'));
  }

  /** Makes the two namespaces and the wire. */
  async setUp(): Promise<void> {
    const lab = this.#lab;
    const [here, there] = [await lab.namespace('a'), await lab.namespace('b')];
    await lab.veth(
      { name: 'eth0', netns: here, addresses: [`${HERE[4]}/24`, `${HERE[6]}/64`] },
      { name: 'eth0', netns: there, addresses: [] },
    );
    await lab.ip('-n', here, 'link', 'set', 'eth0', 'address', ENGINE_MAC);
    for (const address of Object.values(PEER)) {
      const entry = [address, 'lladdr', PEER_MAC, 'dev', 'eth0', 'nud', 'permanent'];
      await lab.ip('-n', here, 'neigh', 'add', ...entry);
    }
    await lab.sysctl(here, 'net.ipv4.ping_group_range=0 2147483647');
    this.#netns = here;
    this.#netnsFd = openSync(lab.path(here), 'r');
    this.#device = loadSockets().interfaceIndex('eth0', lab.path(here));
    this.#wire = await Wire.open(await compileWire(this.#folder), there);
  }

  async cleanUp(): Promise<void> {
    await this.#wire?.close();
    if (this.#netnsFd >= 0) closeSync(this.#netnsFd);
    await this.#lab.cleanUp();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Name of the engine's namespace. */
  get netns(): string {
    return this.#netns;
  }

  /** For files that are gone after `cleanUp`. */
  get folder(): string {
    return this.#folder;
  }

  get wire(): Wire {
    assert.ok(this.#wire !== undefined);
    return this.#wire;
  }

  get engine(): ProbeEngine {
    assert.ok(this.#engine !== undefined);
    return this.#engine;
  }

  /** Of the kind of probes that it was started with. */
  get frames(): ProbeFrames {
    return this.#frames;
  }

  /** Starts an engine that knows the peer, and sends it nothing by itself. */
  async start(
    mode: EngineMode,
    kind: ProbeKind,
    { timeoutMs = 2000, rotate = false, ...options }: Partial<EngineOptions> & { rotate?: boolean } = {},
  ): Promise<void> {
    this.#frames = new ProbeFrames(kind);
    const origin: EngineOrigin = { netnsFd: this.#netnsFd, devices: mode === 'bpf' ? [this.#device] : [] };
    const engine = createProbeEngine({
      origins: [origin],
      mode,
      timeoutMs,
      softTimeoutMs: timeoutMs,
      pathsMax: 64,
      burst: 0,
      ...options,
    });
    this.#engine = engine;
    await engine.start();
    // An engine reads its sockets at its turns: this gives it some.
    engine.open({ address: HERE[4], responder: 'icmp', origin: 0, periodMs: 20 });
    const { family, responder } = this.#frames;
    this.path = engine.open({ address: PEER[family], responder, origin: 0, periodMs: 0, rotate });
  }

  async stop(): Promise<void> {
    await this.#engine?.stop();
    this.wire.received.length = 0;
  }

  /** Sends probes. @returns their frames, as the peer got them */
  async probes(count: number, spacingMs = 1): Promise<Buffer[]> {
    const seen = (): Buffer[] => this.wire.received.filter((frame) => this.#frames.isProbe(frame));
    const before = seen().length;
    this.engine.burst(this.path, count, spacingMs);
    await until(() => seen().length >= before + count);
    return seen().slice(before);
  }

  async probe(): Promise<Buffer> {
    const [frame] = await this.probes(1);
    assert.ok(frame !== undefined);
    return frame;
  }

  /** Counts once the true answer, sent last, has come: all before it have been dealt with. */
  async settled(request: Buffer): Promise<PathCounts> {
    const { answered } = this.engine.counts(this.path);
    await this.wire.send(this.#frames.answer(request));
    await until(() => this.engine.counts(this.path).answered > answered);
    return this.engine.counts(this.path);
  }
}
