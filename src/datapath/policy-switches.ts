import { type EndpointRecord, encodeEndpoint } from './endpoint-codec.ts';
import { moveEpochs, type ShownEpochs } from './epochs.ts';
import type { PolicyPair } from './policy-pair.ts';
import type { DatapathMaps } from './programs.ts';
import { indexKey } from './struct-layout.ts';

/** How long after a switch the maps that were left are brought up to date: whoever waits for an answer comes first. */
const CATCH_UP_MS = 20;
/** Of these in a turn of the event loop. */
const CATCH_UP_AT_ONCE = 4;

/** An endpoint whose policy is written and to be put in force. */
export interface PolicySwitchStep {
  readonly slot: number;
  readonly policy: PolicyPair;
  /** What its record is from now on. @throws when it must not be switched any more */
  readonly record: () => EndpointRecord;
  /** It is in force. */
  readonly done: (record: EndpointRecord) => void;
}

interface Waiting {
  readonly step: PolicySwitchStep;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Puts policies in force: all that are ready in one turn of the event loop by one write of their records and one of their
 * epochs. Later, with nobody waiting, it brings the maps that were left up to date, so that the next change has only
 * itself to write.
 */
export class PolicySwitches {
  readonly #maps: DatapathMaps;
  readonly #epochs: ShownEpochs;
  #waiting: Waiting[] = [];
  readonly #behind = new Set<PolicyPair>();
  #catchUp: NodeJS.Timeout | undefined;
  #catchingUp: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(maps: DatapathMaps) {
    this.#maps = maps;
    this.#epochs = maps.shownEpochs.sharedValues();
  }

  /** @rejects with what `record` throws, or the datapath (BpfError) */
  add(step: PolicySwitchStep): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ step, resolve, reject }) === 1) process.nextTick(() => this.#flush());
    });
  }

  #flush(): void {
    const ready: (Waiting & { readonly record: EndpointRecord })[] = [];
    for (const waiting of this.#waiting.splice(0)) {
      try {
        ready.push({ ...waiting, record: waiting.step.record() });
      } catch (error) {
        waiting.reject(error);
      }
    }
    if (ready.length === 0) return;
    try {
      const keys = Buffer.concat(ready.map(({ step }) => indexKey(step.slot)));
      const records = Buffer.concat(ready.map(({ record }) => encodeEndpoint(record)));
      this.#maps.endpoints.updateBatch(keys, records, ready.length);
      moveEpochs(
        this.#maps,
        this.#epochs,
        ready.map(({ step }) => step.slot),
      );
    } catch (error) {
      for (const { reject } of ready) reject(error);
      return;
    }
    for (const { step, record, resolve } of ready) {
      step.done(record);
      this.#behind.add(step.policy);
      resolve();
    }
    this.#catchUpLater();
  }

  #catchUpLater(): void {
    if (this.#catchUp !== undefined || this.#closed || this.#behind.size === 0) return;
    this.#catchUp = setTimeout(() => {
      this.#catchingUp = this.#catchUpSome().finally(() => {
        this.#catchUp = undefined;
        this.#catchUpLater();
      });
    }, CATCH_UP_MS).unref();
  }

  async #catchUpSome(): Promise<void> {
    let count = 0;
    for (const policy of this.#behind) {
      if (this.#closed) return;
      this.#behind.delete(policy);
      await policy.catchUp();
      if (++count % CATCH_UP_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The endpoint is gone: its maps are left alone, from the next `settled` on. */
  forget(policy: PolicyPair): void {
    this.#behind.delete(policy);
  }

  /** Settles when no map that was left is being written. */
  settled(): Promise<void> {
    return this.#catchingUp;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#catchUp);
    this.#behind.clear();
  }
}
