import { decodeMessage, type PackedMessage } from '../../src/model/packed-rows.ts';

export type LiveState = 'connecting' | 'live' | 'stale';

export interface LiveEvents {
  /** The whole matrix has come. */
  readonly matrix: (message: PackedMessage) => void;
  /** Rows have changed. */
  readonly rows: (message: PackedMessage) => void;
  readonly diagnosis: (answer: unknown) => void;
  readonly changes: (answer: unknown) => void;
  /** Once a second at least. `heardMs`: since anything was heard; undefined: never. */
  readonly state: (state: LiveState, heardMs: number | undefined) => void;
}

/** Without a beat for so long (one comes each 2 s) what is shown is not of now. */
const STALE_MS = 6000;
const RETRY_MS = 2000;
const LOOK_MS = 1000;

function bytesOf(base64: string): ArrayBuffer {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

/**
 * Follows the health agent. In steps: 1. open the stream of events; 2. take the whole matrix, at once,
 * at the `hello` of another stream, and whenever the nodes change; 3. rows that come before it wait, those after it are taken as they come. A stream that breaks is
 * opened again, by the browser or, where that gives up, by us; until then the page says that it is stale.
 */
export class Live {
  readonly #events: LiveEvents;
  #source: EventSource | undefined;
  #heardMs: number | undefined;
  #connected = false;
  #nodesId: string | undefined;
  /** A stream has begun before this one: what changed between them was not told. */
  #isBegun = false;
  /** What was taken before this is not enough (realtime of the agent). */
  #neededMs = Number.NEGATIVE_INFINITY;
  #takenMs = Number.NEGATIVE_INFINITY;
  #nodes = 0;
  #waiting: ArrayBuffer[] | undefined = [];
  #fetching: AbortController | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(events: LiveEvents) {
    this.#events = events;
  }

  start(): void {
    this.#open();
    setInterval(() => this.#tell(), LOOK_MS);
    void this.#takeAll();
  }

  #open(): void {
    const source = new EventSource('v1beta/events');
    this.#source = source;
    const on = (name: string, act: (text: string) => void): void => {
      source.addEventListener(name, (event) => {
        this.#heard();
        act(event instanceof MessageEvent ? String(event.data) : '');
      });
    };
    on('hello', (text) => {
      const { 'rows-at-ms': rowsAtMs } = JSON.parse(text) as { readonly 'rows-at-ms': number };
      this.#neededMs = this.#isBegun ? Number.POSITIVE_INFINITY : rowsAtMs;
      this.#isBegun = true;
      if (this.#fetching === undefined) this.#takeIfOld();
    });
    on('nodes', () => void this.#takeAll());
    on('rows', (text) => this.#rows(bytesOf(text)));
    on('diagnosis', (text) => this.#events.diagnosis(JSON.parse(text)));
    on('path-change', (text) => this.#events.changes(JSON.parse(text)));
    on('beat', () => undefined);
    source.addEventListener('error', () => this.#broken());
  }

  #heard(): void {
    this.#connected = true;
    this.#heardMs = performance.now();
    this.#tell();
  }

  #broken(): void {
    this.#connected = false;
    this.#tell();
    if (this.#source?.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#open(), RETRY_MS);
  }

  #tell(): void {
    const heardMs = this.#heardMs === undefined ? undefined : performance.now() - this.#heardMs;
    const late = heardMs !== undefined && heardMs > STALE_MS;
    if (this.#connected && !late) this.#events.state('live', heardMs);
    else this.#events.state(heardMs === undefined ? 'connecting' : 'stale', heardMs);
  }

  async #takeAll(): Promise<void> {
    this.#fetching?.abort();
    const fetching = new AbortController();
    this.#fetching = fetching;
    this.#waiting ??= [];
    try {
      const answer = await fetch('v1beta/matrix/packed', { signal: fetching.signal, cache: 'no-store' });
      if (!answer.ok) throw new Error(`the matrix was refused: ${answer.status}`);
      const message = decodeMessage(await answer.arrayBuffer(), 0);
      if (this.#fetching !== fetching) return;
      this.#nodesId = message.header.nodesId;
      this.#nodes = message.header.cluster?.nodes.length ?? 0;
      this.#takenMs = message.header.atMs;
      this.#events.matrix(message);
      this.#release();
    } catch {
      if (this.#fetching !== fetching) return;
      // The agent is gone or about to go: the stream says so, and its next hello begins anew.
      this.#connected = false;
      this.#tell();
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => void this.#takeAll(), RETRY_MS);
      return;
    }
    this.#fetching = undefined;
    this.#takeIfOld();
  }

  #takeIfOld(): void {
    const needed = this.#neededMs;
    this.#neededMs = Number.NEGATIVE_INFINITY;
    if (this.#takenMs <= needed) void this.#takeAll();
  }

  #release(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const buffer of waiting) this.#rows(buffer);
  }

  #rows(buffer: ArrayBuffer): void {
    if (this.#waiting !== undefined) {
      this.#waiting.push(buffer);
      return;
    }
    const message = decodeMessage(buffer, this.#nodes);
    // Of nodes that are others now: their matrix is on its way.
    if (message.header.nodesId === this.#nodesId) this.#events.rows(message);
  }
}
