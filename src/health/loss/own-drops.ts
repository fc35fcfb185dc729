import { errorText } from '../../base/errors.ts';
import type { Waypoint } from '../../base/waypoint.ts';
import { probeKindIndex, type RowNote } from '../../model/health.ts';
import type { Clock } from '../clock.ts';
import { type PathId, sightingsOf } from './sightings.ts';

export interface OwnDropsDeps {
  readonly clock: Clock;
  /** What this node's datapath saw of a path. @throws BpfError when its map cannot be read */
  readonly read: (path: PathId) => readonly Waypoint[];
  /** That the policy of this node drops probes, or that it does not any more. */
  readonly onChange: () => void;
  /** It was asked to be told again, and still is so. */
  readonly onAgain: () => void;
  /** The map cannot be read; called once. */
  readonly onFailure: (reason: string) => void;
}

interface Drop {
  readonly hook: string;
  readonly reason: string;
  readonly agoMs: number;
}

/** Stands for all paths of all probers: no prober has that number (bpf/lib/metrics.h). */
const ANYBODY: PathId = { prober: 0, path: 0 };
const ICMP = probeKindIndex('host-host/icmp');
/** Each look costs two calls; others take some 700 ms to find out that nothing answers, and must know why by then. */
const LOOK_MS = 250;
/** Drops that ended so long ago are over: paths of hosts are probed once a second. */
const LATELY_MS = 2000;

/**
 * What the policy of this node itself drops of others' echoes. They ask for it where they can; but a node that lets in
 * neither echoes nor their questions looks to them as if its kernel hung, so that it must say by itself that it does not.
 */
export class OwnDrops {
  readonly #deps: OwnDropsDeps;
  #dropped: (Drop & { readonly sinceMs: number }) | undefined;
  /** Monotonic ms: a drop after it is to be told again. */
  #repeatMs: number | undefined;
  #hasFailed = false;
  #cancel: (() => void) | undefined;

  constructor(deps: OwnDropsDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#cancel = this.#deps.clock.after(LOOK_MS, () => {
      this.start();
      this.#look();
    });
  }

  /** May be called twice. */
  stop(): void {
    this.#cancel?.();
  }

  /** A note of this node on itself, while it drops anything. */
  notes(self: string): readonly RowNote[] {
    if (this.#dropped === undefined) return [];
    const { hook, reason, sinceMs } = this.#dropped;
    const lossPoint = { node: self, hook, leg: 'request', reason } as const;
    return [{ peer: self, kind: ICMP, family: 4, fault: 'policy-drop', lossPoint, sinceMs }];
  }

  /** Others say that we do not answer: with the next drop they are told again that it is our policy's doing, and so that we live. */
  repeat(): void {
    this.#repeatMs ??= this.#deps.clock.nowMs();
  }

  #look(): void {
    const { clock, onChange, onAgain } = this.#deps;
    const now = this.#droppedLately();
    const isAgain =
      now !== undefined && clock.nowMs() - now.agoMs > (this.#repeatMs ?? Number.POSITIVE_INFINITY);
    if (isAgain || now === undefined) this.#repeatMs = undefined;
    if (now?.reason === this.#dropped?.reason) {
      if (isAgain) onAgain();
      return;
    }
    this.#dropped = now === undefined ? undefined : { ...now, sinceMs: Math.floor(clock.wallMs()) };
    onChange();
  }

  /** The program writes of anybody's echoes at one place only; what is there at others was forged. */
  #droppedLately(): Drop | undefined {
    const seen = sightingsOf(this.#read(), this.#deps.clock.nowMs() * 1e6);
    const here = seen.find(({ hook, leg }) => hook === 'to_host' && leg === 'request');
    if (here?.reason === undefined || here.agoMs >= LATELY_MS || !/polic/i.test(here.reason))
      return undefined;
    return { hook: here.hook, reason: here.reason, agoMs: here.agoMs };
  }

  #read(): readonly Waypoint[] {
    try {
      return this.#deps.read(ANYBODY);
    } catch (error) {
      if (!this.#hasFailed) this.#deps.onFailure(errorText(error));
      this.#hasFailed = true;
      return [];
    }
  }
}
