import { type PathState, PROBE_KINDS, probeKindIndex } from '../model/health.ts';
import { type Clock, instantOf } from './clock.ts';
import type { PathBook } from './path-book.ts';
import type { PathTracker } from './state/path-tracker.ts';
import { AGAIN_MS, isInDoubt } from './told-states.ts';

export interface ConfirmerDeps {
  readonly clock: Clock;
  readonly book: Pick<PathBook, 'trackers' | 'burst' | 'tickPeer'>;
  /** The answers of these peers' paths are in, as far as they come. */
  readonly onHeard: (peers: ReadonlySet<string>) => void;
}

const AGENT = probeKindIndex('host-host/http');
/** When the answers of a peer's other paths are looked for, after one of them died or came back. */
const HEAR_MS = [20, 100, 400] as const;
/** Peers that die or come back within this time after the first are heard together. */
const JOIN_MS = 30;
/** So many echoes in a row, so far apart, are silence if none is answered. */
export const ECHOES = 6;
export const ECHO_MS = 10;
/** Those to a kernel that is asked once more are further apart: it may be held up for longer than a burst takes. */
const AGAIN_ECHO_MS = 50;
/** Requests to a peer follow each other for this reason at least so far apart. */
const REQUESTS_MS = 1000;
/** But the agent is asked so soon after another death: until it answers, a filter looks like the beginning of a death. */
const AGENT_MS = 250;

/**
 * What else of a peer died or came back with a path: its other paths are asked at once, whatever their pace, and soon
 * heard. Of one that has more to tell meanwhile, they are asked anew: an answer counts only after the last death.
 */
export class Confirmer {
  readonly #deps: ConfirmerDeps;
  /** Peers that are heard together, with what they became last after they were asked. */
  #joined: Map<string, PathState | undefined> | undefined;
  /** When requests were sent to a peer. */
  readonly #requested = new Map<string, number>();
  /** Peers whose agent will be asked once more, for something died too soon after it was: ends that. */
  readonly #waiting = new Map<string, () => void>();
  #stopped = false;

  constructor(deps: ConfirmerDeps) {
    this.#deps = deps;
  }

  /** A path of that peer has just come into this state. */
  confirm(peer: string, became: PathState): void {
    if (this.#stopped) return;
    this.#joined ??= this.#begin();
    const isAsked = this.#joined.has(peer);
    this.#joined.set(peer, isAsked ? became : undefined);
    if (!isAsked) this.#ask(peer, became);
  }

  #begin(): Map<string, PathState | undefined> {
    const { clock } = this.#deps;
    const peers = new Map<string, PathState | undefined>();
    clock.after(JOIN_MS, () => {
      this.#joined = undefined;
      for (const [peer, became] of peers) if (became !== undefined) this.#ask(peer, became);
    });
    for (const ms of HEAR_MS)
      clock.after(ms, () => {
        this.#hear(new Set(peers.keys()));
        this.askSilentKernels(peers.keys());
      });
    return peers;
  }

  #ask(peer: string, became: PathState): void {
    if (this.#stopped) return;
    const { book } = this.#deps;
    const all = book.trackers(peer);
    // One that is reachable may be so from before the outage.
    const isDeath = became === 'unreachable';
    const others = isDeath ? all.filter(({ state }) => state !== became) : all;
    const echoes = others.filter((one) => !isRequest(one));
    book.burst(echoes, isDeath ? ECHOES : 1, ECHO_MS);
    const waitMs = this.#requestsWaitMs(peer, became);
    if (waitMs === 0) book.burst(others.filter(isRequest), 1, 1);
    else if (isDeath) this.#askAgentAfter(Math.min(waitMs, AGENT_MS), peer);
  }

  /** How long to wait before requests may be sent to a peer for this reason; if not at all, they count as sent. */
  #requestsWaitMs(peer: string, became: PathState): number {
    const nowMs = this.#deps.clock.nowMs();
    const key = `${peer} ${became}`;
    for (const [known, ms] of this.#requested) {
      if (nowMs - ms < REQUESTS_MS) break;
      this.#requested.delete(known);
    }
    const sentMs = this.#requested.get(key);
    if (sentMs !== undefined) return sentMs + REQUESTS_MS - nowMs;
    this.#requested.set(key, nowMs);
    return 0;
  }

  /** What its agent answered before the last death says nothing of after it, and its next turn may be far. */
  #askAgentAfter(waitMs: number, peer: string): void {
    const { clock, book } = this.#deps;
    if (this.#waiting.has(peer)) return;
    const ask = (): void => {
      this.#waiting.delete(peer);
      const agent = book.trackers(peer).filter(({ path, state }) => {
        return path.kind === AGENT && state !== 'unreachable';
      });
      book.burst(agent, 1, 1);
      for (const ms of HEAR_MS) clock.after(ms, () => this.#hear(new Set([peer])));
    };
    this.#waiting.set(peer, clock.after(waitMs, ask));
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#waiting.values()) cancel();
    this.#waiting.clear();
  }

  /** Asks kernels once more that are silent while their agents answer: it may be that all echoes came late. */
  askSilentKernels(peers: Iterable<string>): void {
    if (this.#stopped) return;
    const { book, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const asked = new Set<string>();
    for (const peer of peers) {
      const trackers = book.trackers(peer);
      const silent = trackers.filter((one) => {
        return one.askedAgainMs === undefined && isInDoubt(one, trackers, nowMs);
      });
      for (const one of silent) one.askedAgainMs = nowMs;
      book.burst(silent, ECHOES, AGAIN_ECHO_MS);
      if (silent.length > 0) asked.add(peer);
    }
    // A timer of the system may end up to a millisecond early, and nothing would be told before the next round then.
    if (asked.size > 0) clock.after(AGAIN_MS + 1, () => this.#hear(asked));
  }

  #hear(peers: ReadonlySet<string>): void {
    if (this.#stopped) return;
    const { clock, book, onHeard } = this.#deps;
    const at = instantOf(clock);
    for (const peer of peers) book.tickPeer(peer, at);
    onHeard(peers);
  }
}

function isRequest({ path }: PathTracker): boolean {
  return PROBE_KINDS[path.kind]?.responder === 'http';
}
