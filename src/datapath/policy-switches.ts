import { moveEpochs, type ShownEpochs } from './epochs.ts';
import type { DatapathMaps } from './programs.ts';
import { type RecordChange, RecordSwitch } from './record-switch.ts';

/** An endpoint whose policy is written and to be put in force. */
export interface PolicySwitchStep {
  /** How its record changes. @throws when it must not be switched any more */
  readonly change: () => RecordChange;
  /** It is in force. */
  readonly done: (change: RecordChange) => void;
}

interface Waiting {
  readonly step: PolicySwitchStep;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Puts policies in force: all that are ready in one turn of the event loop by one write of their records and one of their
 * epochs.
 */
export class PolicySwitches {
  readonly #maps: DatapathMaps;
  readonly #epochs: ShownEpochs;
  readonly #records: RecordSwitch;
  #waiting: Waiting[] = [];

  constructor(maps: DatapathMaps) {
    this.#maps = maps;
    this.#epochs = maps.shownEpochs.sharedValues();
    this.#records = new RecordSwitch(maps.endpoints);
  }

  /** @rejects with what `change` throws, or the datapath (BpfError) */
  add(step: PolicySwitchStep): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ step, resolve, reject }) === 1) process.nextTick(() => this.#flush());
    });
  }

  #flush(): void {
    const ready: (Waiting & { readonly change: RecordChange })[] = [];
    for (const waiting of this.#waiting.splice(0)) {
      try {
        ready.push({ ...waiting, change: waiting.step.change() });
      } catch (error) {
        waiting.reject(error);
      }
    }
    if (ready.length === 0) return;
    const changes = ready.map(({ change }) => change);
    try {
      this.#records.write(changes);
      const slots = changes.map(({ slot }) => slot);
      moveEpochs(this.#maps, this.#epochs, slots);
    } catch (error) {
      for (const { reject } of ready) reject(error);
      return;
    }
    for (const { step, change, resolve } of ready) {
      step.done(change);
      resolve();
    }
  }
}
