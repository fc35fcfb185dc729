import { errorText } from '../../base/errors.ts';
import { type ExchangeCounters, noExchange } from './exchange-counters.ts';
import type { LossRoom } from './loss-room.ts';
import { isOfItself, type News, peersOf } from './news.ts';
import { Outbox } from './outbox.ts';
import { Partners, type PartnersDeps } from './partners.ts';
import { type DecodedPatches, decodeHave, decodePatches, encodeHave, PatchWriter } from './row-codec.ts';
import { CELL_WIDTH, type RowStore, type StoredRow } from './row-store.ts';
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

export interface ExchangeDeps extends PartnersDeps {
  readonly store: RowStore;
  readonly lossRoom: LossRoom;
  readonly transport: RowTransport;
  /** A message told of faults of these peers that came or went, or of notes on them: once a message. */
  readonly onFault?: ((peers: ReadonlySet<string>) => void) | undefined;
  /** A node did not answer, or refused; called once a minute at most. */
  readonly onFailure?: ((node: string, reason: string) => void) | undefined;
  /** The same, each time. */
  readonly onMiss?: ((node: string) => void) | undefined;
}

const PULL_MS = 1000;
/** A have costs 15 bytes a node: in larger clusters pulls are rarer, so that it costs no more. */
const PULL_MS_A_NODE = 1;
const MORE_MS = 50;
/** News that come within this time go out together. */
const PUSH_MS = 10;
/** From one push to the next. */
const PUSH_APART_MS = 40;
/** To each partner: some 4,000 cells and, beside them, the notes of 40 rows. */
const PUSH_BYTES_A_SECOND = 256 * 1024;
/** A pull that brings more changes is one after a long time. */
const PASS_ON_CELLS = 64;
const ANSWER_BYTES = 256 * 1024;
const SAY_MS = 60_000;
/** Each node is asked about once a period: one that is not for so long, and so many periods, lets no requests in. */
const UNASKED_MS = 5000;
const UNASKED_PERIODS = 3;

/**
 * Brings the rows of all nodes to all nodes. In steps:
 *
 * 1. each node has a few partners: its successors in rings that every node works out for itself;
 * 2. about once a second it asks one of them, or now and then any node at all, for what that has and it has not, by the
 *    versions of its rows: so all rows reach all nodes, and after a partition both sides;
 * 3. what changes a path's state, or what a node says of itself, is pushed at once to all partners, who pass on what was
 *    news to them; so are losses, as long as they are few;
 * 4. pushes are bounded and may get lost: the next pull brings what is missing;
 * 5. a node that nobody asks, since something lets no requests in, pushes all of its row when it makes a new version.
 */
export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #strangers: Strangers;
  readonly #outbox = new Outbox();
  readonly #partners: Partners;
  readonly #counters = noExchange();
  #pushRoom = PUSH_BYTES_A_SECOND;
  #roomMs = Number.NEGATIVE_INFINITY;
  #pushedMs = Number.NEGATIVE_INFINITY;
  #saidMs = Number.NEGATIVE_INFINITY;
  #askedMs = 0;
  #cancelPull: (() => void) | undefined;
  #cancelPush: (() => void) | undefined;
  #running = false;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
    this.#partners = new Partners(deps);
    this.#strangers = new Strangers(deps.directory, deps.store);
    deps.directory.onLeave((slots) => this.#outbox.forget(slots));
  }

  follow(self: string, names: readonly string[]): void {
    this.#partners.follow(self, names);
  }

  /** Pulls begin at a random time of the first period, lest all nodes do so together. */
  start(): void {
    this.#running = true;
    this.#askedMs = this.#deps.clock.nowMs();
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
    const name = this.#partners.next();
    let more = false;
    if (name !== undefined) more = await this.#pullFrom(name);
    this.#pullAfter(more ? MORE_MS : this.#periodMs());
  }

  /** @returns whether that node has more for us */
  async #pullFrom(name: string): Promise<boolean> {
    const { directory, clock } = this.#deps;
    const sentMs = clock.nowMs();
    try {
      const answer = await this.#send(name, 'differences', encodeHave(this.#have()));
      const decoded = decodePatches(directory, answer);
      if (!this.#running) return false;
      this.#counters.pulls++;
      const taken = this.#take(decoded, directory.slotOf(name), false);
      return decoded.more && taken;
    } catch (error) {
      this.#failed(name, error, sentMs);
      this.#counters.pullsFailed++;
      return false;
    }
  }

  /** A node has come back to the network: what it told before is old, and its partners ask it at once for what it says now. */
  returned(name: string): void {
    if (this.#partners.returned(name) && this.#running) void this.#pullFrom(name);
  }

  #failed(name: string, error: unknown, sentMs: number): void {
    this.#partners.failed(name, sentMs);
    const { clock, onFailure, onMiss } = this.#deps;
    if (this.#running) onMiss?.(name);
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

  async #send(name: string, request: RowRequest, body: Uint8Array): Promise<Uint8Array> {
    const address = this.#partners.addressOf(name);
    if (address === undefined) throw new Error('the node has no address');
    this.#counters.bytesSent += body.length;
    const answer = await this.#deps.transport.send(address, request, body);
    this.#counters.bytesReceived += answer.length;
    return answer;
  }

  /** Takes what came in, and passes on what others must have at once. @returns whether anything in it was news */
  #take(decoded: DecodedPatches, fromSlot: number | undefined, isPush: boolean): boolean {
    const { clock, store, own, lossRoom } = this.#deps;
    this.#strangers.take(decoded);
    const context = { nowMs: clock.nowMs(), wallMs: clock.wallMs(), fromSlot };
    const news: News[] = [];
    let [taken, cells, hasFault] = [0, 0, false];
    for (const patch of decoded.patches) {
      const before = store.row(patch.slot);
      // Versions of an earlier incarnation are none of this one's.
      const notesBefore = before?.incarnation === patch.incarnation ? before.notesVersion : 0;
      const { kind, changed, lossier } = store.take(patch, own(), context);
      if (kind === 'taken') taken++;
      else if (kind === 'future' || kind === 'ours') this.#counters.rowsRefused++;
      if (isPush && lossier.length > 0 && lossRoom.takes(lossier.length / CELL_WIDTH, context.nowMs))
        this.#post(() => this.#outbox.add(patch, lossier));
      hasFault ||= changed.length > 0 || (kind === 'taken' && patch.notes !== undefined);
      if (changed.length === 0 && !isOfItself(patch, notesBefore, this.#deps)) continue;
      news.push({ patch, changed });
      cells += changed.length / CELL_WIDTH;
    }
    this.#counters.rowsTaken += taken;
    if (hasFault) this.#deps.onFault?.(peersOf(news, this.#deps.directory));
    // What a pull brings in masses is no news to the others either.
    if (isPush || cells <= PASS_ON_CELLS) this.#passOn(news);
    return taken > 0;
  }

  #passOn(news: readonly News[]): void {
    for (const { patch, changed } of news) this.#post(() => this.#outbox.add(patch, changed));
  }

  /** Our own row has news that others must have at once: all that changed after `base`. */
  announce(row: StoredRow, base: number): void {
    const patch = this.#deps.store.patchSince(row, base);
    this.#post(() => this.#outbox.add(patch, patch.cells));
  }

  /** Our own row has a new version: who never asks for it must have it all the same, or takes us for silent. */
  renewed(row: StoredRow): void {
    const unaskedMs = this.#deps.clock.nowMs() - this.#askedMs;
    if (unaskedMs > UNASKED_MS + UNASKED_PERIODS * this.#periodMs()) this.announce(row, 0);
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
    this.#pushedMs = clock.nowMs();
    if (clock.nowMs() - this.#roomMs >= 1000) {
      this.#roomMs = clock.nowMs();
      this.#pushRoom = PUSH_BYTES_A_SECOND;
    }
    const writer = new PatchWriter(directory, this.#pushRoom);
    const patches = this.#outbox.take();
    let pushed = 0;
    for (const patch of patches) {
      if (writer.isFull) break;
      writer.add(patch);
      pushed++;
    }
    this.#counters.rowsNotPushed += patches.length - pushed;
    if (pushed === 0) return;
    const body = writer.take(false);
    this.#pushRoom -= body.length;
    for (const name of this.#partners.all()) void this.#pushTo(name, body);
  }

  async #pushTo(name: string, body: Uint8Array): Promise<void> {
    const sentMs = this.#deps.clock.nowMs();
    try {
      await this.#send(name, 'news', body);
      this.#counters.pushes++;
    } catch (error) {
      this.#failed(name, error, sentMs);
      this.#counters.pushesFailed++;
    }
  }

  /** Answers a node that asks for what it has not. @throws RowFormatError */
  differences(body: Uint8Array): Uint8Array {
    const { clock, directory, store, own } = this.#deps;
    this.#askedMs = clock.nowMs();
    const have = this.#received(body, () => decodeHave(directory, body));
    const ours = own();
    const theirs = ours === undefined ? undefined : have.get(ours);
    if (ours !== undefined && theirs !== undefined) {
      store.heardOfOwn(ours, theirs.incarnation, theirs.version, clock.wallMs());
    }
    const answer = this.#lacking(have);
    this.#counters.bytesSent += answer.length;
    return answer;
  }

  #lacking(have: ReturnType<typeof decodeHave>): Uint8Array {
    const { directory, store, random } = this.#deps;
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
      this.#received(body, () => decodePatches(this.#deps.directory, body)),
      fromSlot,
      true,
    );
  }

  #received<T>(body: Uint8Array, decode: () => T): T {
    this.#counters.bytesReceived += body.length;
    try {
      return decode();
    } catch (error) {
      this.#counters.malformed++;
      throw error;
    }
  }
}
