import { errorText } from '../../base/errors.ts';
import type { Clock } from '../clock.ts';
import { observedPeers } from '../plan/observers.ts';
import type { NodeDirectory } from './node-directory.ts';
import { Outbox } from './outbox.ts';
import { type DecodedPatches, decodeHave, decodePatches, encodeHave, PatchWriter } from './row-codec.ts';
import { CELL_WIDTH, type RowPatch, type RowStore, type StoredRow } from './row-store.ts';
import { Strangers } from './strangers.ts';

/** What is asked of another node: rows that it has and we have not, or that it takes news. */
export type RowRequest = 'differences' | 'news';

/** Carries messages to other nodes. */
export interface RowTransport {
  /** Sends a message to an address and resolves to the answer; rejects where there is none in time. */
  send(address: string, request: RowRequest, body: Uint8Array): Promise<Uint8Array>;
  /** Ends what is under way. */
  stop(): Promise<void>;
}

export interface ExchangeDeps {
  readonly clock: Clock;
  readonly directory: NodeDirectory;
  readonly store: RowStore;
  readonly transport: RowTransport;
  /** 0 to below 1. */
  readonly random: () => number;
  /** Slot of our node, once it is known. */
  readonly own: () => number | undefined;
  /** A node did not answer, or refused; called once a minute at most. */
  readonly onFailure?: ((node: string, reason: string) => void) | undefined;
}

export interface ExchangeCounters {
  /** Pulls that were answered, and those that were not. */
  pulls: number;
  pullsFailed: number;
  /** Messages of news that went out, and those that nobody took. */
  pushes: number;
  pushesFailed: number;
  /** Cells of news that had no room: they come by pull. */
  cellsNotPushed: number;
  rowsTaken: number;
  /** Rows that were refused: of a time to come, or of our own node. */
  rowsRefused: number;
  /** Messages that were none of ours. */
  malformed: number;
}

/** Rings of which each node has one successor as a partner. */
const PARTNERS = 4;
const PULL_MS = 1000;
/** A have costs 15 bytes a node: in larger clusters pulls are rarer, so that it costs no more. */
const PULL_MS_A_NODE = 1;
const MORE_MS = 50;
/** News that come within this time go out together. */
const PUSH_MS = 10;
/** From one push to the next. */
const PUSH_APART_MS = 40;
const PUSH_CELLS_A_SECOND = 4096;
/** A pull that brings more changes is one after a long time. */
const PASS_ON_CELLS = 64;
const ANSWER_BYTES = 256 * 1024;
/** A partner that did not answer is left alone for so long; another node takes its place. */
const REST_MS = 10_000;
const SAY_MS = 60_000;

/**
 * Brings the rows of all nodes to all nodes. In steps:
 *
 * 1. each node has a few partners: its successors in rings that every node works out for itself;
 * 2. about once a second it asks one of them, or now and then any node at all, for what that has and it has not, by the
 *    versions of its rows: so all rows reach all nodes, and after a partition both sides;
 * 3. what changes a path's state is pushed at once to all partners, who pass on what was news to them;
 * 4. pushes are bounded and may get lost: the next pull brings what is missing.
 */
export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #strangers: Strangers;
  readonly #outbox = new Outbox();
  readonly #restingUntil = new Map<string, number>();
  readonly #counters: ExchangeCounters = {
    pulls: 0,
    pullsFailed: 0,
    pushes: 0,
    pushesFailed: 0,
    cellsNotPushed: 0,
    rowsTaken: 0,
    rowsRefused: 0,
    malformed: 0,
  };
  #partners: readonly string[] = [];
  #turn = 0;
  #attempt = 0;
  #pushRoom = PUSH_CELLS_A_SECOND;
  #roomMs = Number.NEGATIVE_INFINITY;
  #pushedMs = Number.NEGATIVE_INFINITY;
  #saidMs = Number.NEGATIVE_INFINITY;
  #cancelPull: (() => void) | undefined;
  #cancelPush: (() => void) | undefined;
  #running = false;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
    this.#strangers = new Strangers(deps.directory, deps.store);
    deps.directory.onLeave((slots) => this.#outbox.forget(slots));
  }

  follow(self: string, names: readonly string[]): void {
    this.#partners = [...observedPeers(self, names, PARTNERS)];
    for (const name of this.#restingUntil.keys()) {
      if (this.#deps.directory.slotOf(name) === undefined) this.#restingUntil.delete(name);
    }
  }

  /** Pulls begin at a random time of the first period, lest all nodes do so together. */
  start(): void {
    this.#running = true;
    this.#pullAfter(this.#deps.random() * this.#periodMs());
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#cancelPull?.();
    this.#cancelPush?.();
    await this.#deps.transport.stop();
  }

  counters(): Readonly<ExchangeCounters> {
    return { ...this.#counters };
  }

  #periodMs(): number {
    return Math.max(PULL_MS, PULL_MS_A_NODE * this.#deps.directory.size);
  }

  #pullAfter(ms: number): void {
    if (!this.#running) return;
    this.#cancelPull = this.#deps.clock.after(ms, () => void this.#pull());
  }

  async #pull(): Promise<void> {
    const name = this.#nextToPull();
    let more = false;
    if (name !== undefined) more = await this.#pullFrom(name);
    this.#pullAfter(more ? MORE_MS : this.#periodMs());
  }

  /** The partners in turn, then a node by chance; one that rests gives its turn to chance too. */
  #nextToPull(): string | undefined {
    this.#turn = (this.#turn + 1) % (this.#partners.length + 1);
    const partner = this.#partners[this.#turn];
    return partner !== undefined && !this.#rests(partner) ? partner : this.#anyNode();
  }

  #rests(name: string): boolean {
    return (this.#restingUntil.get(name) ?? Number.NEGATIVE_INFINITY) > this.#deps.clock.nowMs();
  }

  #anyNode(): string | undefined {
    const { directory, random, own } = this.#deps;
    const nodes = directory.sorted();
    for (let tries = 0; tries < 4; tries++) {
      const picked = nodes[Math.floor(random() * nodes.length)];
      if (picked !== undefined && picked.slot !== own() && !this.#rests(picked.node.name)) {
        return picked.node.name;
      }
    }
    return undefined;
  }

  /** @returns whether that node has more for us */
  async #pullFrom(name: string): Promise<boolean> {
    const { directory } = this.#deps;
    try {
      const answer = await this.#send(name, 'differences', encodeHave(this.#have()));
      const decoded = decodePatches(directory, answer);
      if (!this.#running) return false;
      this.#counters.pulls++;
      const taken = this.#take(decoded, directory.slotOf(name), false);
      return decoded.more && taken;
    } catch (error) {
      this.#failed(name, error);
      this.#counters.pullsFailed++;
      return false;
    }
  }

  #failed(name: string, error: unknown): void {
    this.#restingUntil.set(name, this.#deps.clock.nowMs() + REST_MS);
    this.#attempt++;
    const { clock, onFailure } = this.#deps;
    if (clock.nowMs() - this.#saidMs < SAY_MS) return;
    this.#saidMs = clock.nowMs();
    onFailure?.(name, errorText(error));
  }

  *#have(): IterableIterator<{ id: number; incarnation: number; version: number }> {
    const { directory, store } = this.#deps;
    for (const { slot, incarnation, version } of store.rows()) {
      yield { id: directory.idOf(slot), incarnation, version };
    }
    yield* this.#strangers.versions();
  }

  /** A node with several addresses is tried at the next one after a failure. */
  #send(name: string, request: RowRequest, body: Uint8Array): Promise<Uint8Array> {
    const { directory, transport } = this.#deps;
    const addresses = directory.node(directory.slotOf(name) ?? -1)?.addresses ?? [];
    const address = addresses[this.#attempt % Math.max(1, addresses.length)];
    if (address === undefined) return Promise.reject(new Error('the node has no address'));
    return transport.send(address, request, body);
  }

  /** Takes what came in, and passes on what others must have at once. @returns whether anything in it was news */
  #take(decoded: DecodedPatches, fromSlot: number | undefined, isPush: boolean): boolean {
    const { clock, store, own } = this.#deps;
    this.#strangers.take(decoded);
    const context = { nowMs: clock.nowMs(), wallMs: clock.wallMs(), fromSlot };
    const news: { readonly patch: RowPatch; readonly changed: readonly number[] }[] = [];
    let [taken, cells] = [0, 0];
    for (const patch of decoded.patches) {
      const { kind, changed } = store.take(patch, own(), context);
      if (kind === 'taken') taken++;
      else if (kind === 'future' || kind === 'ours') this.#counters.rowsRefused++;
      if (changed.length === 0) continue;
      news.push({ patch, changed });
      cells += changed.length / CELL_WIDTH;
    }
    this.#counters.rowsTaken += taken;
    // What a pull brings in masses is no news to the others either.
    if (isPush || cells <= PASS_ON_CELLS) this.#passOn(news);
    return taken > 0;
  }

  #passOn(news: readonly { readonly patch: RowPatch; readonly changed: readonly number[] }[]): void {
    for (const { patch, changed } of news) this.#post(() => this.#outbox.add(patch, changed));
  }

  /** Our own row has news that others must have at once: all that changed after `base`. */
  announce(row: StoredRow, base: number): void {
    const patch = this.#deps.store.patchSince(row, base);
    this.#post(() => this.#outbox.add(patch, patch.cells));
  }

  #post(add: () => void): void {
    add();
    if (!this.#running) return;
    const { clock } = this.#deps;
    const waitMs = Math.max(PUSH_MS, this.#pushedMs + PUSH_APART_MS - clock.nowMs());
    this.#cancelPush ??= clock.after(waitMs, () => {
      this.#cancelPush = undefined;
      this.#push();
    });
  }

  #push(): void {
    const { clock, directory } = this.#deps;
    const cells = this.#outbox.cells;
    const patches = this.#outbox.take();
    this.#pushedMs = clock.nowMs();
    if (clock.nowMs() - this.#roomMs >= 1000) {
      this.#roomMs = clock.nowMs();
      this.#pushRoom = PUSH_CELLS_A_SECOND;
    }
    if (cells > this.#pushRoom) {
      this.#counters.cellsNotPushed += cells;
      return;
    }
    this.#pushRoom -= cells;
    const writer = new PatchWriter(directory, ANSWER_BYTES);
    for (const patch of patches) writer.add(patch);
    const body = writer.take(false);
    for (const name of this.#pushTargets()) void this.#pushTo(name, body);
  }

  #pushTargets(): ReadonlySet<string> {
    const targets = [...this.#partners, undefined].map((name) => {
      return name === undefined || this.#rests(name) ? this.#anyNode() : name;
    });
    return new Set(targets.filter((name) => name !== undefined));
  }

  async #pushTo(name: string, body: Uint8Array): Promise<void> {
    try {
      await this.#send(name, 'news', body);
      this.#counters.pushes++;
    } catch (error) {
      this.#failed(name, error);
      this.#counters.pushesFailed++;
    }
  }

  /** Answers a node that asks for what it has not. @throws RowFormatError */
  differences(body: Uint8Array): Uint8Array {
    const { clock, directory, store, own, random } = this.#deps;
    const have = this.#counted(() => decodeHave(directory, body));
    const ours = own();
    const theirs = ours === undefined ? undefined : have.get(ours);
    if (ours !== undefined && theirs !== undefined) {
      store.heardOfOwn(ours, theirs.incarnation, theirs.version, clock.wallMs());
    }
    const nodes = directory.sorted();
    const first = Math.floor(random() * nodes.length);
    const writer = new PatchWriter(directory, ANSWER_BYTES);
    for (let i = 0; i < nodes.length; i++) {
      if (writer.isFull) return writer.take(true);
      const slot = nodes[(first + i) % nodes.length]?.slot ?? -1;
      const patch = store.patchFor(slot, have.get(slot));
      if (patch !== undefined) writer.add(patch);
    }
    return writer.take(false);
  }

  /** Takes news of the node at that address. @throws RowFormatError */
  news(fromSlot: number, body: Uint8Array): void {
    this.#take(
      this.#counted(() => decodePatches(this.#deps.directory, body)),
      fromSlot,
      true,
    );
  }

  #counted<T>(decode: () => T): T {
    try {
      return decode();
    } catch (error) {
      this.#counters.malformed++;
      throw error;
    }
  }
}
