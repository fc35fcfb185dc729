import type { Clock } from '../clock.ts';
import { observedPeers } from '../plan/observers.ts';
import type { NodeDirectory } from './node-directory.ts';

export interface PartnersDeps {
  readonly clock: Clock;
  readonly directory: NodeDirectory;
  /** 0 to below 1. */
  readonly random: () => number;
  /** Slot of our node, once it is known. */
  readonly own: () => number | undefined;
}

/** Rings of which each node has one successor as a partner. */
const PARTNERS = 4;
/** A node that did not answer is left alone for so long; another one takes its place. */
const REST_MS = 10_000;
const TRIES = 4;
/** The paths of a node that comes back do so one after the other, within so long. */
const RETURN_MS = 1000;

/** With whom rows are exchanged: our successors in rings that every node works out for itself, and any node by chance. */
export class Partners {
  readonly #deps: PartnersDeps;
  readonly #restingUntil = new Map<string, number>();
  /** When nodes came back lately, monotonic ms. */
  readonly #returnedMs = new Map<string, number>();
  #names: readonly string[] = [];
  #turn = 0;
  #attempt = 0;

  constructor(deps: PartnersDeps) {
    this.#deps = deps;
  }

  follow(self: string, names: readonly string[]): void {
    this.#names = [...observedPeers(self, names, PARTNERS)];
    for (const known of [this.#restingUntil, this.#returnedMs])
      for (const name of known.keys())
        if (this.#deps.directory.slotOf(name) === undefined) known.delete(name);
  }

  /** The partners in turn, then a node by chance; one that rests gives its turn to chance too. */
  next(): string | undefined {
    this.#turn = (this.#turn + 1) % (this.#names.length + 1);
    const partner = this.#names[this.#turn];
    return partner !== undefined && !this.#rests(partner) ? partner : this.#anyNode();
  }

  /** All partners and one by chance. */
  all(): ReadonlySet<string> {
    const targets = [...this.#names, undefined].map((name) => {
      return name === undefined || this.#rests(name) ? this.#anyNode() : name;
    });
    return new Set(targets.filter((name) => name !== undefined));
  }

  /** It did not answer what was sent then (monotonic ms), which says nothing of a node that has come back since. */
  failed(name: string, sentMs: number): void {
    this.#attempt++;
    if (sentMs < (this.#returnedMs.get(name) ?? Number.NEGATIVE_INFINITY)) return;
    this.#restingUntil.set(name, this.#deps.clock.nowMs() + REST_MS);
  }

  /** It has come back to the network, and rests no more. @returns whether it is a partner of whom that is news */
  returned(name: string): boolean {
    const nowMs = this.#deps.clock.nowMs();
    const isNews = nowMs - (this.#returnedMs.get(name) ?? Number.NEGATIVE_INFINITY) >= RETURN_MS;
    this.#returnedMs.set(name, nowMs);
    this.#restingUntil.delete(name);
    return isNews && this.#names.includes(name);
  }

  /** Where it is reached; a node with several addresses is tried at the next one after a failure. */
  addressOf(name: string): string | undefined {
    const { directory } = this.#deps;
    const addresses = directory.node(directory.slotOf(name) ?? -1)?.addresses ?? [];
    return addresses[this.#attempt % Math.max(1, addresses.length)];
  }

  #rests(name: string): boolean {
    return (this.#restingUntil.get(name) ?? Number.NEGATIVE_INFINITY) > this.#deps.clock.nowMs();
  }

  #anyNode(): string | undefined {
    const { directory, random, own } = this.#deps;
    const nodes = directory.sorted();
    for (let tries = 0; tries < TRIES; tries++) {
      const picked = nodes[Math.floor(random() * nodes.length)];
      if (picked !== undefined && picked.slot !== own() && !this.#rests(picked.node.name)) {
        return picked.node.name;
      }
    }
    return undefined;
  }
}
