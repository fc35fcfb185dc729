import { Account, PathRecord } from './constants.ts';
import { HISTOGRAM_BUCKETS, noCounts, type PathCounts } from './types.ts';

/** Of a path that the thread does not know yet. */
const NEVER: PathCounts = noCounts();

/** Reads the records that the thread and the programs write. Both halves of a number are read apart: see `wide`. */
export class PathMemory {
  readonly #records: Uint32Array;
  readonly #accounts: Uint32Array;

  /** @param records struct probe_path[], @param accounts struct probe_account[]: live memory of the addon */
  constructor(records: ArrayBuffer, accounts: ArrayBuffer) {
    this.#records = new Uint32Array(records);
    this.#accounts = new Uint32Array(accounts);
  }

  /** Counts of the path at `index`, all 0 until the thread has taken its opening. */
  read(index: number, generation: number): PathCounts {
    const at = index * Account.words;
    if (this.#accounts[at + Account.generation] !== generation) return NEVER;
    const path = index * PathRecord.words;
    const account = (word: number): number => wide(this.#accounts, at + word);
    const record = (word: number): number => wide(this.#records, path + word);
    return {
      sent: account(Account.sent),
      answered: record(PathRecord.answered),
      lost: account(Account.lost) + record(PathRecord.late),
      late: account(Account.late) + record(PathRecord.late),
      duplicate: account(Account.duplicate),
      reordered: record(PathRecord.reordered),
      unstamped: record(PathRecord.unstamped),
      failed: account(Account.failed),
      echoed: record(PathRecord.echoed),
      rttSumNs: record(PathRecord.rttSumNs),
      rttMaxNs: record(PathRecord.rttMaxNs),
      rttLastNs: record(PathRecord.rttLastNs),
      residenceSumNs: record(PathRecord.residenceSumNs),
      sentLastNs: account(Account.sentLastNs),
      answeredLastNs: record(PathRecord.answeredLastNs),
      lostInARow: this.#accounts[at + Account.lostInARow] ?? 0,
      hopLimitLast: this.#records[path + PathRecord.hopLimitLast] ?? 0,
      histogram: this.#records.subarray(
        path + PathRecord.histogram,
        path + PathRecord.histogram + HISTOGRAM_BUCKETS,
      ),
    };
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
