import type { AccessLogRecord } from '../model/l7.ts';
import type { ProxyToAgent } from '../model/proxy-protocol.ts';

/** Records sent in one message at most. */
const BATCH = 256;

/** Sends a message to the agent; @returns false when it can take no more, or nobody is there */
export type SendToAgent = (message: ProxyToAgent) => boolean;

/**
 * Keeps records until the agent takes them, in batches. What does not fit is lost, the newest first, so that a burst
 * keeps its beginning; how many is counted, and told before the next record that follows the gap.
 */
export class AccessLog {
  readonly #capacity: number;
  readonly #send: SendToAgent;
  #records: AccessLogRecord[] = [];
  #lost = 0;
  #scheduled = false;

  constructor(capacity: number, send: SendToAgent) {
    this.#capacity = capacity;
    this.#send = send;
  }

  readonly record = (record: AccessLogRecord): void => {
    if (this.#records.length >= this.#capacity) {
      this.#lost++;
      return;
    }
    this.#records.push(record);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  };

  /** Sends what there is, as far as the agent takes it. Call it when it can take more. */
  flush(): void {
    let sent = 0;
    while (sent < this.#records.length) {
      const records = this.#records.slice(sent, sent + BATCH);
      if (!this.#send({ type: 'access-log', records })) break;
      sent += records.length;
    }
    if (sent > 0) this.#records = this.#records.slice(sent);
    if (this.#records.length === 0 && this.#lost > 0 && this.#send({ type: 'lost', records: this.#lost })) {
      this.#lost = 0;
    }
  }
}
