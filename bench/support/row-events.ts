import { MatrixPacker } from '../../src/health/dashboard/matrix-packer.ts';
import { EventFeed } from '../../src/health/events.ts';
import { matrixView } from '../../src/health/mesh/matrix.ts';
import { NodeDirectory } from '../../src/health/mesh/node-directory.ts';
import { RowStore } from '../../src/health/mesh/row-store.ts';

const CELLS = 20;
const GOOD = 0b0101;
const BAD = 0b1111;
const TICK_MS = 500;

/** Rows of a large cluster in the store of a node, and one follower of its events. */
export class RowEvents {
  readonly #directory = new NodeDirectory();
  readonly #store = new RowStore(this.#directory);
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #nodes: number;
  readonly #versions: number[];
  #nowMs = 0;
  #tick = (): void => undefined;

  /** 20 cells a row. */
  constructor(nodes: number) {
    this.#nodes = nodes;
    this.#directory.update(
      Array.from({ length: nodes }, (_, i) => ({ name: `node-${i}`, zone: `zone-${i % 4}`, addresses: [] })),
    );
    this.#versions = Array.from({ length: nodes }, () => 0);
    for (let slot = 0; slot < nodes; slot++) {
      this.#take(
        slot,
        Array.from({ length: CELLS }, (_, k) => (slot + 1 + k * 7) % nodes),
        GOOD,
      );
    }
    const [directory, store] = [this.#directory, this.#store];
    const clock = {
      nowMs: () => this.#nowMs,
      wallMs: () => this.#nowMs,
      after: (_ms: number, act: () => void) => {
        this.#tick = act;
        return () => undefined;
      },
    };
    const packer = new MatrixPacker({
      matrix: () => matrixView({ directory, store, self: 'node-0', nowMs: clock.nowMs }),
      clock,
    });
    packer.snapshot();
    const feed = new EventFeed({
      packer,
      clock,
      onChange: () => undefined,
      diagnosis: () => undefined,
      changeAnswer: (change) => change,
    });
    const stream = feed.stream(() => undefined);
    if (stream === undefined) throw new Error('the feed takes no follower');
    this.#reader = stream.getReader();
  }

  #take(slot: number, peers: readonly number[], states: number): void {
    const base = this.#versions[slot] ?? 0;
    const version = base + 1;
    this.#versions[slot] = version;
    const cells = peers.flatMap((peer) => [peer, version, states, 0, 120_000, 30, states === BAD ? 30 : 0]);
    const patch = { slot, incarnation: 1, base, version, atMs: this.#nowMs, cells, notes: undefined };
    const { kind } = this.#store.take(patch, undefined, { nowMs: this.#nowMs, wallMs: 0, fromSlot: slot });
    if (kind !== 'taken') throw new Error(`a row was not taken: ${kind}`);
  }

  /** Changes the state of so many rows' first cells. @returns ms until the follower's stream has the event */
  async change(rows: number): Promise<number> {
    for (let slot = 0; slot < rows; slot++) {
      this.#take(slot, [(slot + 1) % this.#nodes], (this.#versions[slot] ?? 0) % 2 === 0 ? GOOD : BAD);
    }
    this.#nowMs += TICK_MS;
    const start = performance.now();
    this.#tick();
    const tookMs = performance.now() - start;
    if (rows > 0) await this.#readUntil('event: rows');
    return tookMs;
  }

  async #readUntil(text: string): Promise<void> {
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) throw new Error('the stream has ended');
      if (new TextDecoder().decode(value).includes(text)) return;
    }
  }
}
