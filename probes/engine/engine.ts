import { randomBytes, randomInt } from 'node:crypto';
import { getSystemErrorName } from 'node:util';
import { BpfError } from '../../bpf/addon/index.ts';
import { errorText, NotPermittedError, SystemError } from '../../src/base/errors.ts';
import { type IpFamily, ipFamily, parseIp } from '../../src/base/ip.ts';
import type { Waypoint } from '../../src/base/waypoint.ts';
import type { ProbeReadiness } from '../types.ts';
import { CommandQueue } from './command-queue.ts';
import {
  Command,
  CommandKind,
  DEFAULT_PATHS_MAX,
  KEY_BYTES,
  Mode,
  PROBE_MARK,
  RECORDS_A_BLOCK,
  Responder,
  Self,
} from './constants.ts';
import { EventReader } from './event-reader.ts';
import { IndexPool } from './index-pool.ts';
import { type NativeEngine, type NativeHandle, nativeEngine } from './native.ts';
import { checkPath, nativeOptions, netnsPath, sourceOf } from './options.ts';
import { PathMemory } from './path-memory.ts';
import { ProbePrograms } from './programs.ts';
import {
  type EngineEvent,
  EngineFullError,
  type EngineMode,
  type EngineOptions,
  type EngineOrigin,
  type EnginePath,
  type EngineSelf,
  type LiveCounts,
  NO_ANSWERS,
  noCounts,
  type PathCounts,
  type ProbeEngine,
} from './types.ts';

/** Memory that could not be had is asked for again after that long, not with each path. */
const RECORDS_AGAIN_MS = 5000;
const FAMILIES = [4, 6] as const;

export interface EngineParts {
  /** Of origins without devices, and of all without programs. */
  readonly socketMode: 'raw' | 'datagram';
  /** Programs for the origins that have devices, or why there are none. */
  readonly programs: ProbePrograms | { readonly reason: string };
  readonly prober: number;
}

/** Programs got no memory for records of any path. */
export class NoRecordsError extends SystemError {
  constructor(cause: unknown) {
    super('programs get no records', { code: 'ENGINE_RECORDS', cause });
  }
}

/** An engine of given parts; `createProbeEngine` chooses them. */
export class NativeProbeEngine implements ProbeEngine {
  readonly #options: EngineOptions;
  readonly #parts: EngineParts;
  readonly #native: NativeEngine;
  readonly #handle: NativeHandle;
  readonly #memory: PathMemory;
  /** By origin. */
  readonly #readiness: readonly Record<IpFamily, ProbeReadiness>[];
  readonly #pathsMax: number;
  /** Of each use of an index: what an old use wrote is not read as the new one's. */
  readonly #generations: Uint32Array;
  readonly #open: Uint8Array;
  readonly #indices: IndexPool;
  readonly #families: Uint8Array;
  readonly #commands: CommandQueue;
  readonly #events = new EventReader();
  readonly #self = new Float64Array(Self.count);
  readonly #listeners: ((events: readonly EngineEvent[]) => void)[] = [];
  readonly #devices: Map<number, string | undefined>[];
  #count = 0;
  #refused = 0;
  #stopped = false;
  /** Why there was no memory for the records of more paths, and until when none is asked for. */
  #noRecords: string | undefined;
  #recordsAgainMs = 0;

  /**
   * @throws SystemError when the addon or its memory cannot be had, NoRecordsError when programs get no records, UsageError
   * for an option out of range
   */
  constructor(options: EngineOptions, parts: EngineParts) {
    this.#options = options;
    this.#parts = parts;
    this.#pathsMax = options.pathsMax ?? DEFAULT_PATHS_MAX;
    this.#generations = new Uint32Array(this.#pathsMax);
    this.#open = new Uint8Array(this.#pathsMax);
    this.#indices = new IndexPool(this.#pathsMax);
    this.#families = new Uint8Array(this.#pathsMax);
    this.#native = nativeEngine();
    const { programs, prober } = parts;
    const batchesFd = programs instanceof ProbePrograms ? programs.batchesFd : -1;
    const handle = this.#native.create(nativeOptions(options, prober, batchesFd), randomBytes(KEY_BYTES));
    if (typeof handle === 'number') {
      throw new SystemError(`cannot make the probe engine: ${getSystemErrorName(handle)}`, {
        code: 'ENGINE_CREATE',
      });
    }
    this.#handle = handle;
    this.#makeFirstRecords();
    this.#commands = new CommandQueue(this.#native, handle);
    this.#memory = new PathMemory(...this.#native.memory(handle));
    this.#devices = options.origins.map((_, i) => new Map(this.#startDevices(i)));
    this.#readiness = options.origins.map((origin, i) => {
      return { 4: this.#openSockets(i, origin, 4), 6: this.#openSockets(i, origin, 6) };
    });
  }

  /** Where not even these can be had, other modes are better than programs. */
  #makeFirstRecords(): void {
    const { programs } = this.#parts;
    if (!(programs instanceof ProbePrograms)) return;
    try {
      this.#addBlock(programs);
    } catch (error) {
      this.#native.stop(this.#handle);
      throw new NoRecordsError(error);
    }
  }

  /** Programs that may be asked and told. */
  get #running(): ProbePrograms | undefined {
    const { programs } = this.#parts;
    return programs instanceof ProbePrograms && !this.#stopped ? programs : undefined;
  }

  #startDevices(origin: number): (readonly [number, undefined])[] {
    if (this.#modeOf(origin) !== 'bpf') return [];
    return (this.#options.origins[origin]?.devices ?? []).map((ifindex) => [ifindex, undefined]);
  }

  #modeOf(origin: number): EngineMode {
    const { programs, socketMode } = this.#parts;
    const devices = this.#options.origins[origin]?.devices ?? [];
    return programs instanceof ProbePrograms && devices.length > 0 ? 'bpf' : socketMode;
  }

  #openSockets(index: number, origin: EngineOrigin, family: IpFamily): ProbeReadiness {
    const mode = this.#modeOf(index);
    const source = sourceOf(origin, family);
    const fd = origin.netnsFd ?? -1;
    const result = this.#native.openSockets(this.#handle, index, fd, family, source, Mode[mode]);
    if (result < 0) return { ready: false, reason: getSystemErrorName(result) };
    return { ready: true, mode, ...this.#note(mode) };
  }

  /** Why programs do not stamp, unless nobody wants them to. */
  #note(mode: EngineMode): { note?: string } {
    const { programs } = this.#parts;
    if (mode === 'bpf' || (this.#options.mode ?? 'auto') !== 'auto') return {};
    return { note: programs instanceof ProbePrograms ? 'no device was named' : programs.reason };
  }

  /** @throws NotPermittedError, SystemError when no family works */
  async start(): Promise<void> {
    if (!FAMILIES.some((family) => this.readiness(family, 'icmp').ready)) {
      const reasons = FAMILIES.map((family) => {
        const ready = this.readiness(family, 'icmp');
        return ready.ready ? '' : `IPv${family}: ${ready.reason}`;
      }).join(', ');
      const message = `cannot open ${this.#modeOf(0)} sockets for probes: ${reasons}`;
      if (/EPERM|EACCES/.test(reasons))
        throw new NotPermittedError(message, { hint: 'CAP_NET_RAW is needed' });
      throw new SystemError(message, { code: 'ENGINE_SOCKETS' });
    }
    const result = this.#native.start(this.#handle, () => this.#takeEvents());
    if (result < 0) {
      throw new SystemError(`cannot start the probe engine: ${getSystemErrorName(result)}`, {
        code: 'ENGINE_START',
      });
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#commands.close();
    this.#native.stop(this.#handle);
    if (this.#parts.programs instanceof ProbePrograms) this.#parts.programs.close();
  }

  readiness(family: IpFamily, responder: EnginePath['responder'], origin = 0): ProbeReadiness {
    if (responder === 'echo' && this.#options.flows === 0) {
      return { ready: false, reason: 'no source ports for echo probes' };
    }
    return this.#readiness[origin]?.[family] ?? { ready: false, reason: `origin ${origin} does not exist` };
  }

  open(path: EnginePath): number {
    const index = this.tryOpen(path);
    if (index === undefined) throw new EngineFullError(this.#pathsMax);
    return index;
  }

  tryOpen(path: EnginePath): number | undefined {
    const bytes = parseIp(path.address);
    const family = ipFamily(bytes);
    checkPath(path, family, this.#options.origins.length);
    const index = this.#takeIndex();
    if (index === undefined) {
      this.#refused++;
      return undefined;
    }
    this.#generations[index] = ((this.#generations[index] ?? 0) + 1) >>> 0 || 1;
    this.#open[index] = 1;
    this.#families[index] = family;
    this.#count++;
    this.#send(CommandKind.open, index, (command) => {
      command[Command.responder] = Responder[path.responder];
      command[Command.origin] = path.origin;
      command[Command.family] = family;
      command[Command.rotate] = path.rotate === true ? 1 : 0;
      command[Command.packetBytes] = path.packetBytes ?? 0;
      command[Command.periodUs] = Math.round(path.periodMs * 1000);
      // The first look comes within a second; where in it is chance, so that nodes do not fall into step.
      command[Command.phaseUs] = randomInt(Math.max(1, Math.round(Math.min(path.periodMs, 1000) * 1000)));
      new Uint8Array(command.buffer, command.byteOffset).set(bytes, Command.address * 4);
    });
    return index;
  }

  /** Undefined: there is no room for one more record. */
  #takeIndex(): number | undefined {
    const programs = this.#running;
    if (programs === undefined) return this.#indices.take();
    const index = this.#indices.take(programs.blocks * RECORDS_A_BLOCK);
    if (index !== undefined || programs.blocks * RECORDS_A_BLOCK >= this.#pathsMax) return index;
    return this.#tryAddBlock(programs) ? this.#indices.take(programs.blocks * RECORDS_A_BLOCK) : undefined;
  }

  #tryAddBlock(programs: ProbePrograms): boolean {
    if (performance.now() < this.#recordsAgainMs) return false;
    try {
      this.#addBlock(programs);
      this.#noRecords = undefined;
      return true;
    } catch (error) {
      if (!(error instanceof BpfError || error instanceof SystemError)) throw error;
      this.#recordsAgainMs = performance.now() + RECORDS_AGAIN_MS;
      this.#tellNoRecords(errorText(error));
      return false;
    }
  }

  #tellNoRecords(reason: string): void {
    if (reason !== this.#noRecords) this.#options.onNoRecords?.(reason);
    this.#noRecords = reason;
  }

  /**
   * Records that programs write, for one more block of paths: indices are taken one after the other.
   * @throws BpfError, SystemError
   */
  #addBlock(programs: ProbePrograms): void {
    programs.addBlock((block, descriptor) => {
      const result = this.#native.share(this.#handle, block, descriptor);
      if (result < 0)
        throw new SystemError(`cannot map records: ${getSystemErrorName(result)}`, {
          code: 'ENGINE_RECORDS',
        });
    });
  }

  close(index: number): void {
    if (this.#open[index] !== 1) return;
    this.#send(CommandKind.close, index);
    this.#open[index] = 0;
    this.#count--;
    this.#indices.give(index);
  }

  pace(index: number, periodMs: number): void {
    if (this.#open[index] !== 1) return;
    this.#send(CommandKind.pace, index, (command) => {
      command[Command.periodUs] = Math.round(periodMs * 1000);
    });
  }

  burst(index: number, count: number, spacingMs: number): void {
    if (this.#open[index] !== 1) return;
    this.#send(CommandKind.burst, index, (command) => {
      command[Command.count] = count;
      command[Command.spacingUs] = Math.round(spacingMs * 1000);
    });
  }

  #send(kind: number, index: number, fill?: (command: Uint32Array) => void): void {
    if (this.#stopped) return;
    const command = this.#commands.next();
    command[Command.kind] = kind;
    command[Command.path] = index;
    command[Command.generation] = this.#generations[index] ?? 0;
    fill?.(command);
  }

  counts(index: number): PathCounts {
    const counts = noCounts(NO_ANSWERS);
    this.readCounts(index, counts);
    return counts;
  }

  readCounts(index: number, into: LiveCounts): void {
    this.#memory.read(index, this.#open[index] === 1 ? (this.#generations[index] ?? 0) : 0, into);
  }

  wake(): void {
    this.#commands.wake();
  }

  takeMax(index: number): number {
    return this.#memory.takeMax(index);
  }

  setPeers(addresses: readonly string[], own: readonly string[]): void {
    // Without programs only kernels and agents answer.
    this.#running?.setPeers(addresses, own);
  }

  setDevices(origin: number, wanted: readonly number[]): void {
    const programs = this.#running;
    const devices = this.#devices[origin];
    if (programs === undefined || devices === undefined || this.#modeOf(origin) !== 'bpf') return;
    for (const ifindex of devices.keys()) {
      if (wanted.includes(ifindex) && programs.stands(origin, ifindex)) continue;
      programs.detach(origin, ifindex);
      devices.delete(ifindex);
    }
    for (const ifindex of wanted)
      if (!devices.has(ifindex)) devices.set(ifindex, this.#attach(programs, origin, ifindex));
  }

  /** @returns why not */
  #attach(programs: ProbePrograms, origin: number, ifindex: number): string | undefined {
    try {
      programs.attach(origin, ifindex, netnsPath(this.#options.origins[origin]));
      return undefined;
    } catch (error) {
      return errorText(error);
    }
  }

  onEvents(listener: (events: readonly EngineEvent[]) => void): void {
    this.#listeners.push(listener);
  }

  /** Of many at once, each time the buffer is full the rest is taken in the next turn of the event loop. */
  #takeEvents(): void {
    if (this.#stopped) return;
    const { events, isFull } = this.#events.take(
      (buffer) => this.#native.events(this.#handle, buffer),
      (path, generation) => this.#open[path] === 1 && this.#generations[path] === generation,
    );
    if (isFull) setImmediate(() => this.#takeEvents());
    if (events.length > 0) for (const listener of this.#listeners) listener(events);
  }

  get prober(): number {
    return this.#parts.prober;
  }

  waypoints(path: { readonly prober: number; readonly path: number }): readonly Waypoint[] {
    return this.#running?.waypoints(path) ?? [];
  }

  heardNs(address: string): number {
    return this.#running?.heardNs(address) ?? 0;
  }

  get handshakeMark(): number | undefined {
    return this.#running === undefined ? undefined : PROBE_MARK;
  }

  handshakeNs(fd: number): number | undefined {
    return this.#running?.handshakeNs(fd);
  }

  departuresNs(index: number): readonly number[] {
    return this.#open[index] === 1 ? this.#memory.departuresNs(index) : [];
  }

  self(): EngineSelf {
    this.#native.self(this.#handle, this.#self);
    const value = (index: number): number => this.#self[index] ?? 0;
    const { programs } = this.#parts;
    const seen = this.#running?.counters();
    return {
      mode: { 4: this.readiness(4, 'icmp'), 6: this.readiness(6, 'icmp') },
      programs:
        programs instanceof ProbePrograms
          ? { ready: true, mode: 'bpf' }
          : { ready: false, reason: programs.reason },
      devices: this.#devices.flatMap((devices, origin) =>
        [...devices].map(([ifindex, reason]) => ({ origin, ifindex, reason })),
      ),
      paths: this.#count,
      refused: this.#refused,
      sent: value(Self.sent),
      shortCuts: value(Self.shortCuts),
      cpuNs: value(Self.cpuNs),
      bpfNs: this.#running?.runTimeNs(),
      ownDrops: value(Self.ownDrops),
      echoes: seen?.echoed ?? 0,
      echoesRefused: seen === undefined ? 0 : seen.refusedAddress + seen.refusedForm + seen.refusedRate,
      foreign: value(Self.foreign),
      corrupt: value(Self.corrupt),
      deferred: value(Self.deferred),
      lagMaxNs: value(Self.lagMaxNs),
      clockSteps: value(Self.clockSteps),
    };
  }
}
