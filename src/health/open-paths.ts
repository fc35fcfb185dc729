import { type LiveCounts, NO_ANSWERS, noCounts } from '../../probes/engine/index.ts';
import { type ProbePath, probePathKey } from '../model/health.ts';
import type { PathProber } from './prober.ts';
import type { PathTracker } from './state/path-tracker.ts';

/** A path that is probed, and what is known of it. */
export interface OpenPath {
  readonly tracker: PathTracker;
  readonly prober: PathProber;
  readonly handle: number;
  /** As read last: in the same memory each time. */
  readonly counts: LiveCounts;
  periodMs: number;
}

export type OpenPathParts = Pick<OpenPath, 'tracker' | 'prober' | 'handle' | 'periodMs'>;

/** The open paths of this node, found by what they are, by their peer, and by the handles of their probers. */
export class OpenPaths {
  readonly #paths = new Map<string, OpenPath>();
  readonly #byPeer = new Map<string, OpenPath[]>();
  readonly #byHandle: ReadonlyMap<PathProber, Map<number, OpenPath>>;
  #trackers: readonly PathTracker[] | undefined;
  #layout = 0;

  constructor(probers: readonly PathProber[]) {
    this.#byHandle = new Map(probers.map((prober) => [prober, new Map()]));
  }

  add(key: string, parts: OpenPathParts): void {
    const open: OpenPath = { ...parts, counts: noCounts(NO_ANSWERS) };
    const { peer } = open.tracker.path;
    this.#changed();
    this.#paths.set(key, open);
    this.#byHandle.get(open.prober)?.set(open.handle, open);
    const peers = this.#byPeer.get(peer);
    if (peers === undefined) this.#byPeer.set(peer, [open]);
    else peers.push(open);
  }

  delete(key: string, open: OpenPath): void {
    this.#changed();
    this.#paths.delete(key);
    this.#byHandle.get(open.prober)?.delete(open.handle);
    const { peer } = open.tracker.path;
    const left = this.ofPeer(peer).filter((other) => other !== open);
    if (left.length === 0) this.#byPeer.delete(peer);
    else this.#byPeer.set(peer, left);
  }

  #changed(): void {
    this.#layout++;
    this.#trackers = undefined;
  }

  /** By the key that it was added with, `probePathKey` of it. */
  byKey(key: string): OpenPath | undefined {
    return this.#paths.get(key);
  }

  of(path: ProbePath): OpenPath | undefined {
    return this.#paths.get(probePathKey(path));
  }

  ofPeer(peer: string): readonly OpenPath[] {
    return this.#byPeer.get(peer) ?? NONE;
  }

  ofHandle(prober: PathProber, handle: number): OpenPath | undefined {
    return this.#byHandle.get(prober)?.get(handle);
  }

  entries(): MapIterator<[string, OpenPath]> {
    return this.#paths.entries();
  }

  all(): MapIterator<OpenPath> {
    return this.#paths.values();
  }

  get size(): number {
    return this.#paths.size;
  }

  /** Grows whenever paths have come or gone. */
  get layout(): number {
    return this.#layout;
  }

  /** Of all paths, or of those to a peer; the same array as long as none has come or gone. */
  trackers(peer?: string): readonly PathTracker[] {
    if (peer !== undefined) return this.ofPeer(peer).map(({ tracker }) => tracker);
    this.#trackers ??= Array.from(this.#paths.values(), ({ tracker }) => tracker);
    return this.#trackers;
  }
}

const NONE: readonly OpenPath[] = [];
