import type { AccessLogRecord } from '../model/l7.ts';
import type { ProxyToAgent } from '../model/proxy-protocol.ts';
import { RecordWriter } from './record-text.ts';

/** Records sent in one message at most. */
const BATCH = 256;
/** Characters of requests that records hold together: a path may have 65,536 of them, and a client many paths. */
const MOST_CHARS = 16 * 1024 * 1024;
/** The same of one message, from which on no further record joins it. */
const BATCH_CHARS = 1024 * 1024;
/** How long a record waits for others: each message wakes the agent, which takes longer than what it is told of. */
const WAIT_MS = 10;

/** Sends a message to the agent; @returns false when it can take no more, or nobody is there */
export type SendToAgent = (message: ProxyToAgent) => boolean;

/** The same for a message that is written, as JSON, only when it can be sent. */
export type SendTextToAgent = (json: () => string) => boolean;

/** Characters of all texts inside a value. */
function charsIn(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce<number>((sum, one) => sum + charsIn(one), 0);
}

/** Characters of what the client chose. */
function charsOf({ l7 }: AccessLogRecord): number {
  return l7.kind === 'http' ? l7.method.length + l7.path.length + l7.host.length : charsIn(l7);
}

/**
 * Keeps records until the agent takes them, in batches: after {@link WAIT_MS}, or as soon as one is full. What does not
 * fit is lost, the newest first, so that a burst keeps its beginning; how many is counted, and told before the next
 * record that follows the gap.
 */
export class AccessLog {
  readonly #capacity: number;
  readonly #send: SendTextToAgent;
  readonly #writer = new RecordWriter();
  #records: AccessLogRecord[] = [];
  #chars = 0;
  #lost = 0;
  #timer: NodeJS.Timeout | undefined;
  #scheduled = false;

  constructor(capacity: number, send: SendTextToAgent) {
    this.#capacity = capacity;
    this.#send = send;
  }

  readonly record = (record: AccessLogRecord): void => {
    const chars = charsOf(record);
    if (this.#records.length >= this.#capacity || this.#chars + chars > MOST_CHARS) {
      this.#lost++;
      return;
    }
    this.#chars += chars;
    this.#records.push(record);
    if (this.#records.length >= BATCH) this.#flushSoon();
    else this.#timer ??= setTimeout(this.#onTimer, WAIT_MS);
  };

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    this.flush();
  };

  #flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  /** Sends what there is, as far as the agent takes it. Call it when it can take more. */
  flush(): void {
    let sent = 0;
    while (sent < this.#records.length) {
      const { to, chars } = this.#batchFrom(sent);
      if (!this.#sendRecords(sent, to)) break;
      sent = to;
      this.#chars -= chars;
    }
    if (sent > 0) this.#records = this.#records.slice(sent);
    if (this.#records.length === 0 && this.#lost > 0 && this.#sendLost()) this.#lost = 0;
  }

  /** The end of a message that begins with that record, and the characters in it. */
  #batchFrom(from: number): { readonly to: number; readonly chars: number } {
    let chars = 0;
    let to = from;
    for (; to < this.#records.length && to < from + BATCH && chars < BATCH_CHARS; to++) {
      const record = this.#records[to];
      if (record !== undefined) chars += charsOf(record);
    }
    return { to, chars };
  }

  #sendRecords(from: number, to: number): boolean {
    return this.#send(() => {
      const texts = this.#records.slice(from, to).map((record) => this.#writer.write(record));
      return `{"type":"access-log","records":[${texts.join()}]}`;
    });
  }

  #sendLost(): boolean {
    const message: ProxyToAgent = { type: 'lost', records: this.#lost };
    return this.#send(() => JSON.stringify(message));
  }

  /** Sends what is left; nothing is waited for any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.flush();
  }
}
