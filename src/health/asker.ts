import { PROBE_KINDS, type ProbePath, probeKindIndex } from '../model/health.ts';
import type { Clock } from './clock.ts';
import type { PathBook } from './path-book.ts';
import type { PathTracker } from './state/path-tracker.ts';

export interface AskerDeps {
  readonly clock: Clock;
  readonly book: Pick<PathBook, 'trackers' | 'burst'>;
  /** How many nodes there are: all of them may have heard the same. */
  readonly nodes: () => number;
  /** 0 to below 1. */
  readonly random: () => number;
}

const AGENT = probeKindIndex('host-host/http');
/** Requests of this node besides their pace, in a second and at once. */
const ASKS_PER_SECOND = 10;
/** Of them for what was only heard: a node that is cut off tells of all others. */
const HEARD_PER_SECOND = 2;
/** What all nodes together ask one peer for what they heard of it, in a second: they wait for a random part of that time. */
const ASKED_PER_SECOND = 200;
/** A path that was asked so lately need not be asked for it. */
const LATELY_MS = 1000;
/**
 * From one such question to a peer to the next; twice as long each time that one waits for it, up to the most: a peer that is
 * late for all the questions it gets must not be kept so by more of them.
 */
const APART_MS = 5000;
const MOST_APART_MS = 80_000;

/**
 * Requests are rare, for they are dear, but what they tell is wanted soon when there is a reason: a peer's agent is asked
 * at once, besides its pace,
 *
 * 1. when one of its other paths waits for an answer too long;
 * 2. when another node tells that something of that peer died or came back;
 * 3. when it does not answer an exchange of rows.
 *
 * All are bounded: neither chance, nor many nodes that hear of one peer, nor one that tells lies of many, make a storm.
 */
export class Asker {
  readonly #deps: AskerDeps;
  /** By peer: when it may be asked again for what was heard of it, monotonic ms, and how long that is after the last time. */
  readonly #spaced = new Map<string, { readonly notBeforeMs: number; readonly apartMs: number }>();
  /** Of peers that will be asked for what was heard: ends that. */
  readonly #waiting = new Map<string, () => void>();
  #secondMs = Number.NEGATIVE_INFINITY;
  #left = 0;
  #heardLeft = 0;
  #stopped = false;

  constructor(deps: AskerDeps) {
    this.#deps = deps;
  }

  /** A path misses answers. */
  suspect({ peer, kind }: ProbePath): void {
    if (this.#stopped || !isRequest(kind)) return;
    const others = this.#deps.book.trackers(peer).filter(({ path, state }) => {
      return isRequest(path.kind) && state !== 'unreachable';
    });
    // From host to host first: these say whether it is the agent.
    this.#ask(others.sort((a, b) => a.path.kind - b.path.kind));
  }

  /**
   * Another node tells that a fault of these peers came or went. What is told too soon after the last question waits: it may
   * be the end of what was asked for.
   */
  heard(peers: Iterable<string>): void {
    const { clock, nodes, random } = this.#deps;
    for (const peer of peers) {
      if (this.#stopped || this.#waiting.has(peer)) continue;
      const nowMs = clock.nowMs();
      const last = this.#spaced.get(peer);
      const tooSoonMs = Math.max(0, (last?.notBeforeMs ?? Number.NEGATIVE_INFINITY) - nowMs);
      const waitMs = tooSoonMs + (random() * nodes() * 1000) / ASKED_PER_SECOND;
      const apartMs =
        last === undefined || tooSoonMs === 0 ? APART_MS : Math.min(MOST_APART_MS, 2 * last.apartMs);
      this.#spaced.set(peer, { notBeforeMs: nowMs + waitMs + apartMs, apartMs });
      this.#waiting.set(
        peer,
        clock.after(waitMs, () => this.#askAgent(peer)),
      );
    }
  }

  /** A node does not exchange rows: its agent may be gone, which is not asked again where that is known. */
  missed(peer: string): void {
    const agents = this.#deps.book.trackers(peer).filter(({ path }) => path.kind === AGENT);
    if (agents.some(({ state }) => state !== 'unreachable')) this.heard([peer]);
  }

  #askAgent(peer: string): void {
    const nowMs = this.#deps.clock.nowMs();
    this.#waiting.delete(peer);
    for (const [name, { notBeforeMs }] of this.#spaced) if (notBeforeMs < nowMs) this.#spaced.delete(name);
    this.#renew(nowMs);
    if (this.#heardLeft <= 0) return;
    this.#heardLeft--;
    this.#ask(this.#deps.book.trackers(peer).filter(({ path }) => path.kind === AGENT));
  }

  #renew(nowMs: number): void {
    if (nowMs - this.#secondMs < 1000) return;
    this.#secondMs = nowMs;
    this.#left = ASKS_PER_SECOND;
    this.#heardLeft = HEARD_PER_SECOND;
  }

  #ask(paths: readonly PathTracker[]): void {
    const { clock, book } = this.#deps;
    const nowMs = clock.nowMs();
    this.#renew(nowMs);
    const due = paths.filter(({ counts }) => nowMs - (counts?.sentLastNs ?? 0) / 1e6 >= LATELY_MS);
    const asked = due.slice(0, this.#left);
    this.#left -= asked.length;
    book.burst(asked, 1, 0);
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#waiting.values()) cancel();
    this.#waiting.clear();
  }
}

function isRequest(kind: number): boolean {
  const { responder, expects } = PROBE_KINDS[kind] ?? {};
  return responder === 'http' && expects === 'answer';
}
