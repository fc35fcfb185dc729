import { type PathState, PROBE_KINDS } from '../model/health.ts';
import { type Clock, instantOf } from './clock.ts';
import type { PathBook } from './path-book.ts';
import type { PathTracker } from './state/path-tracker.ts';

export interface ConfirmerDeps {
  readonly clock: Clock;
  readonly book: Pick<PathBook, 'trackers' | 'burst' | 'tickPeer'>;
  /** The answers of these peers' paths are in, as far as they come. */
  readonly onHeard: (peers: ReadonlySet<string>) => void;
}

/** When the answers of a peer's other paths are looked for, after one of them died or came back. */
const HEAR_MS = [100, 400] as const;
/** Peers that die or come back within this time after the first are heard together. */
const JOIN_MS = 30;
/** So many echoes in a row, so far apart, are silence if none is answered. */
const ECHOES = 6;
const ECHO_MS = 10;
/** Requests to a peer follow each other for this reason at least so far apart. */
const REQUESTS_MS = 1000;

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
    for (const ms of HEAR_MS) clock.after(ms, () => this.#hear(new Set(peers.keys())));
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
    if (this.#mayRequest(peer, became)) book.burst(others.filter(isRequest), 1, 1);
  }

  #mayRequest(peer: string, became: PathState): boolean {
    const nowMs = this.#deps.clock.nowMs();
    const key = `${peer} ${became}`;
    for (const [known, ms] of this.#requested) {
      if (nowMs - ms < REQUESTS_MS) break;
      this.#requested.delete(known);
    }
    if (this.#requested.has(key)) return false;
    this.#requested.set(key, nowMs);
    return true;
  }

  stop(): void {
    this.#stopped = true;
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
