import { Account, PathRecord } from './constants.ts';
import {
  copyCounts,
  HISTOGRAM_BUCKETS,
  type LiveCounts,
  NO_ANSWERS,
  noCounts,
  type PathCounts,
} from './types.ts';

/** Of a path that the thread does not know yet. */
const NEVER: PathCounts = noCounts(NO_ANSWERS);

/** Reads the records that the thread and the programs write. Both halves of a number are read apart: see `wide`. */
export class PathMemory {
  readonly #records: Uint32Array;
  readonly #accounts: Uint32Array;
  /** By path: made once, for one costs as much as all the rest of a record's reading. */
  readonly #histograms: Uint32Array[] = [];

  /** @param records struct probe_path[], @param accounts struct probe_account[]: live memory of the addon */
  constructor(records: ArrayBuffer, accounts: ArrayBuffer) {
    this.#records = new Uint32Array(records);
    this.#accounts = new Uint32Array(accounts);
  }

  /** Counts of the path at `index`, all 0 until the thread has taken its opening. */
  read(index: number, generation: number, into: LiveCounts): void {
    const [records, accounts] = [this.#records, this.#accounts];
    const account = index * Account.words;
    if (accounts[account + Account.generation] !== generation) {
      copyCounts(NEVER, into);
      return;
    }
    const record = index * PathRecord.words;
    const late = wide(records, record + PathRecord.late);
    into.sent = wide(accounts, account + Account.sent);
    into.answered = wide(records, record + PathRecord.answered);
    into.lost = wide(accounts, account + Account.lost) + late;
    into.late = wide(accounts, account + Account.late) + late;
    into.duplicate = wide(accounts, account + Account.duplicate);
    into.reordered = wide(records, record + PathRecord.reordered);
    into.unstamped = wide(records, record + PathRecord.unstamped);
    into.failed = wide(accounts, account + Account.failed);
    into.echoed = wide(records, record + PathRecord.echoed);
    into.rttSumNs = wide(records, record + PathRecord.rttSumNs);
    into.rttMaxNs = wide(records, record + PathRecord.rttMaxNs);
    into.rttLastNs = wide(records, record + PathRecord.rttLastNs);
    into.residenceSumNs = wide(records, record + PathRecord.residenceSumNs);
    into.sentLastNs = wide(accounts, account + Account.sentLastNs);
    into.answeredLastNs = wide(records, record + PathRecord.answeredLastNs);
    into.lostInARow = accounts[account + Account.lostInARow] ?? 0;
    into.hopLimitLast = records[record + PathRecord.hopLimitLast] ?? 0;
    into.histogram = this.#histogramAt(index);
  }

  #histogramAt(index: number): Uint32Array {
    const known = this.#histograms[index];
    if (known !== undefined) return known;
    const at = index * PathRecord.words + PathRecord.histogram;
    const view = this.#records.subarray(at, at + HISTOGRAM_BUCKETS);
    this.#histograms[index] = view;
    return view;
  }

  /** Departures of the last probes that were stamped, monotonic ns, in no order. */
  departuresNs(index: number): number[] {
    const at = index * PathRecord.words + PathRecord.sentNs;
    const all = Array.from({ length: PathRecord.ring }, (_, i) => wide(this.#records, at + 2 * i));
    return all.filter((ns) => ns > 0);
  }

  takeMax(index: number): number {
    const at = index * PathRecord.words + PathRecord.rttMaxNs;
    const longest = wide(this.#records, at);
    this.#records[at] = 0;
    this.#records[at + 1] = 0;
    return longest;
  }
}

/**
 * A 64-bit number, little endian, that another thread may write meanwhile: read again when the high half moved, so that
 * no carry is seen half done. Exact below 2^53.
 */
function wide(words: Uint32Array, at: number): number {
  let high = words[at + 1] ?? 0;
  for (;;) {
    const low = words[at] ?? 0;
    const again = words[at + 1] ?? 0;
    if (again === high) return high * 2 ** 32 + low;
    high = again;
  }
}
