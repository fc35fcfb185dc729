import type { Socket } from 'node:net';

/** What the hub hands to its listeners: whole lines, and where each ends. */
export interface Batch {
  readonly bytes: Buffer;
  /** Offset after each line. */
  readonly ends: readonly number[];
}

/**
 * One connection to the event stream. It queues at most `limitBytes`; what does not fit is dropped and counted, and
 * the listener is told by a `lost` line before the next event that fits.
 */
export class Listener {
  readonly #socket: Socket;
  readonly #limitBytes: number;
  readonly #onLost: (count: number) => void;
  #untold = 0;

  /** @param onLost called with the number of events whenever some are dropped */
  constructor(socket: Socket, limitBytes: number, onLost: (count: number) => void) {
    this.#socket = socket;
    this.#limitBytes = limitBytes;
    this.#onLost = onLost;
    // Listeners have nothing to say; reading on is how their end is noticed.
    socket.resume();
  }

  get #room(): number {
    return this.#limitBytes - this.#socket.writableLength;
  }

  /** Queues as many whole lines of the batch as there is room for, in order. */
  send(batch: Batch): void {
    this.#tellLost();
    const room = this.#room;
    let fitting = batch.ends.length;
    if (batch.bytes.length > room) {
      fitting = 0;
      for (const end of batch.ends) {
        if (end > room) break;
        fitting++;
      }
    }
    const bytes = batch.ends[fitting - 1] ?? 0;
    // Once something is lost, nothing may follow before the listener knows.
    if (this.#untold > 0) fitting = 0;
    else if (fitting > 0) this.#write(batch.bytes.subarray(0, bytes));
    const lost = batch.ends.length - fitting;
    if (lost === 0) return;
    this.#untold += lost;
    this.#onLost(lost);
  }

  #tellLost(): void {
    if (this.#untold === 0 || this.#socket.destroyed) return;
    const line = `${JSON.stringify({ kind: 'lost', source: 'listener', count: this.#untold })}\n`;
    if (line.length > this.#room) return;
    this.#untold = 0;
    this.#write(line);
  }

  /** `drain` would come only past the stream's own mark, which may lie above our limit. */
  #write(bytes: Buffer | string): void {
    this.#socket.write(bytes, () => this.#tellLost());
  }

  /** Writes what is queued and ends the connection. */
  end(): void {
    this.#tellLost();
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
