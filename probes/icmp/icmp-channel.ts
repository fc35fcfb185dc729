import { getSystemErrorName } from 'node:util';
import { formatIp, type IpFamily } from '../../src/base/ip.ts';
import {
  BATCH_MAX,
  Counter,
  ErrorOrigin,
  NoticeKind,
  NoticeRecord,
  Outcome,
  RecordFlag,
  ReplyClass,
  ReplyRecord,
  SendRecord,
} from './constants.ts';
import type { NativeIcmp, NativeSocket } from './native.ts';
import type { OutcomeBatch } from './outcome-batch.ts';
import { ProbeTable } from './probe-table.ts';

const RECORDS = 4 * BATCH_MAX;
const ROUTE_ERRORS = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EMSGSIZE', 'EINVAL']);
const BUSY_ERRORS = new Set(['EAGAIN', 'ENOMEM', 'EINTR']);
const DROPPED = 'ENOBUFS';

/** Where a probe goes: 4 or 16 address bytes as 32-bit words in memory order, and the link of a link-local one. */
export interface ChannelTarget {
  readonly words: Uint32Array;
  readonly scopeId: number;
}

export interface ChannelDeps {
  readonly native: NativeIcmp;
  readonly socket: NativeSocket;
  readonly family: IpFamily;
  readonly targetOf: (path: number) => ChannelTarget;
  /** Where outcomes are put; the owner hands them on. */
  readonly batch: OutcomeBatch;
}

/** Totals of one socket since it was opened. */
export interface ChannelCounters {
  sent: number;
  foreign: number;
  corrupt: number;
  noTransmitStamp: number;
}

/** One socket with its probes: sends in batches, reads what came, turns it into outcomes. Never blocks. */
export class IcmpChannel {
  readonly family: IpFamily;
  readonly table: ProbeTable;
  readonly counters: ChannelCounters = { sent: 0, foreign: 0, corrupt: 0, noTransmitStamp: 0 };
  readonly #native: NativeIcmp;
  readonly #socket: NativeSocket;
  readonly #targetOf: (path: number) => ChannelTarget;
  readonly #batch: OutcomeBatch;
  readonly #sendRecords = new Uint32Array(BATCH_MAX * SendRecord.words);
  readonly #replies = new Uint32Array(RECORDS * ReplyRecord.words);
  readonly #replyTimes = new Float64Array(this.#replies.buffer);
  readonly #notices = new Uint32Array(RECORDS * NoticeRecord.words);
  readonly #noticeTimes = new Float64Array(this.#notices.buffer);
  readonly #nativeCounters = new Float64Array(Counter.count);
  /** The path whose probe found no room, and since when. */
  #waitingPath: number | undefined;
  #waitingSinceNs = 0;

  constructor(deps: ChannelDeps, options: { outstanding: number; timeoutNs: number }) {
    this.family = deps.family;
    this.#native = deps.native;
    this.#socket = deps.socket;
    this.#targetOf = deps.targetOf;
    this.#batch = deps.batch;
    this.table = new ProbeTable(options.outstanding, options.timeoutNs);
  }

  nowNs(): number {
    return this.#native.now(this.#socket);
  }

  /**
   * Sends one probe to each of `paths[from..to)`, in order.
   * @returns how many were accepted or refused for good; the rest may be tried again when replies made room
   */
  send(paths: Uint32Array, from: number, to: number): number {
    let done = 0;
    while (from + done < to) {
      const wanted = Math.min(BATCH_MAX, to - from - done, this.table.room);
      if (wanted === 0) break;
      const sent = this.#sendChunk(paths, from + done, wanted);
      if (sent === 0) break;
      done += sent;
      // Transmit stamps are there at once, on a near link replies too; read soon they are still in the cache.
      this.drain();
    }
    return done;
  }

  #sendChunk(paths: Uint32Array, from: number, count: number): number {
    const records = this.#sendRecords;
    const sentNs = this.nowNs();
    let first = 0;
    for (let i = 0; i < count; i++) {
      const path = paths[from + i] ?? 0;
      const target = this.#targetOf(path);
      const sequence = this.table.add(path, sentNs);
      if (i === 0) first = sequence;
      const at = i * SendRecord.words;
      const { words } = target;
      // Four stores: `set` of so short an array costs five times as much.
      records[at] = words[0] ?? 0;
      records[at + 1] = words[1] ?? 0;
      records[at + 2] = words[2] ?? 0;
      records[at + 3] = words[3] ?? 0;
      records[at + SendRecord.path] = path;
      records[at + SendRecord.sequence] = sequence;
      records[at + SendRecord.scopeId] = target.scopeId;
    }
    const sent = this.#native.send(this.#socket, records, count);
    if (sent > 0) {
      this.table.retract(count - sent);
      this.table.taken(first, sent);
      this.counters.sent += sent;
      this.#waitingPath = undefined;
      return sent;
    }
    this.table.retract(count - 1);
    return this.#refused(first, -sent);
  }

  /** The kernel refused the first record of a chunk; the same again tells a stale error from a lasting one. */
  #refused(sequence: number, errno: number): number {
    const name = getSystemErrorName(-errno);
    if (BUSY_ERRORS.has(name)) return this.#busy(sequence, errno);
    this.#native.takeError(this.#socket);
    const again = this.#native.send(this.#socket, this.#sendRecords, 1);
    if (again === 1) return this.#accepted(sequence);
    // A packet refused behind the point where stamps are numbered (netfilter, a program) would shift all that follow.
    if (!ROUTE_ERRORS.has(name)) this.#renumberStamps();
    const lasting = again < 0 ? -again : errno;
    if (name === DROPPED && lasting === errno && !this.#isFinal(sequence)) return this.#later();
    return this.#failed(sequence, lasting);
  }

  /** No room in the socket: the probe waits for it, for as long as it would have waited for its reply. */
  #busy(sequence: number, errno: number): number {
    return this.#isOverdue(sequence) ? this.#failed(sequence, errno) : this.#later();
  }

  /**
   * ENOBUFS: a queue below was full, or a program there dropped the packet, as policy does. A full queue empties while
   * packets of ours are under way; with none of them the answer would be the same for ever, and hold up all others.
   */
  #isFinal(sequence: number): boolean {
    return this.table.oldestSentNs === this.table.sentNsOf(sequence) || this.#isOverdue(sequence);
  }

  #isOverdue(sequence: number): boolean {
    const path = this.table.pathOf(sequence);
    const now = this.nowNs();
    if (this.#waitingPath !== path) {
      this.#waitingPath = path;
      this.#waitingSinceNs = now;
    }
    return now - this.#waitingSinceNs >= this.table.timeoutNs;
  }

  #later(): number {
    this.table.retract(1);
    return 0;
  }

  #accepted(sequence: number): number {
    this.#waitingPath = undefined;
    this.table.taken(sequence, 1);
    this.counters.sent++;
    return 1;
  }

  #failed(sequence: number, errno: number): number {
    this.#waitingPath = undefined;
    const { errors } = this.#batch;
    errors.push({ errno, type: undefined, code: undefined, offender: undefined, mtu: 0 });
    this.table.fail(sequence, Outcome.sendFailed, errors.length - 1, this.#batch);
    return 1;
  }

  #renumberStamps(): void {
    this.#readNotices();
    this.#native.resetStamps(this.#socket);
    this.table.resetStamps();
  }

  /** Reads all that came, and ends what ran out of time. */
  drain(): void {
    let more = true;
    while (more) {
      // Replies are read first: whatever stamps belong to them are then already in the error queue.
      const replies = this.#native.receive(this.#socket, this.#replies);
      this.#readNotices();
      if (replies > 0) this.#takeReplies(replies);
      more = replies === RECORDS;
    }
    this.table.expire(this.nowNs(), this.#batch);
  }

  #takeReplies(count: number): void {
    const words = this.#replies;
    for (let i = 0; i < count; i++) {
      const at = i * ReplyRecord.words;
      const kind = words[at + ReplyRecord.class];
      if (kind === ReplyClass.genuine) {
        const timed = words[at + ReplyRecord.flags] === 0;
        this.table.reply(
          words[at + ReplyRecord.path] ?? 0,
          words[at + ReplyRecord.sequence] ?? 0,
          timed ? (this.#replyTimes[at >> 1] ?? Number.NaN) : Number.NaN,
          words[at + ReplyRecord.hopLimit] ?? 0,
          this.#batch,
        );
      } else if (kind === ReplyClass.corrupt) this.counters.corrupt++;
      else this.counters.foreign++;
    }
  }

  #readNotices(): void {
    for (;;) {
      const count = this.#native.notices(this.#socket, this.#notices);
      for (let i = 0; i < count; i++) this.#takeNotice(i * NoticeRecord.words);
      if (count < RECORDS) return;
    }
  }

  #takeNotice(at: number): void {
    const words = this.#notices;
    const kind = words[at + NoticeRecord.kind];
    const flags = words[at + NoticeRecord.flags] ?? 0;
    if (kind === NoticeKind.sent) {
      if ((flags & (RecordFlag.clockStepped | RecordFlag.noStamp)) !== 0) return;
      this.table.stamp(words[at + NoticeRecord.stampId] ?? 0, this.#noticeTimes[at >> 1] ?? Number.NaN);
      return;
    }
    const origin = words[at + NoticeRecord.origin];
    if (kind === NoticeKind.foreign || origin === ErrorOrigin.local) return;
    const sequence = words[at + NoticeRecord.sequence] ?? 0;
    const known =
      kind === NoticeKind.error
        ? sequence
        : this.table.findShort(sequence, (path) => this.#wentTo(path, at + NoticeRecord.target));
    if (known === undefined) return;
    if (kind === NoticeKind.error && this.table.pathOf(known) !== words[at + NoticeRecord.path]) return;
    this.#batch.errors.push(this.#errorAt(at));
    this.table.fail(known, Outcome.icmpError, this.#batch.errors.length - 1, this.#batch);
  }

  /** Whether the path's address is the one at this word of the notices: what a short quotation leaves to tell by. */
  #wentTo(path: number, at: number): boolean {
    const { words } = this.#targetOf(path);
    return words.every((word, i) => this.#notices[at + i] === word);
  }

  #errorAt(at: number): OutcomeBatch['errors'][number] {
    const words = this.#notices;
    const start = at * 4 + NoticeRecord.offenderByte;
    const bytes = new Uint8Array(words.buffer, start, this.family === 4 ? 4 : 16);
    return {
      errno: words[at + NoticeRecord.error] ?? 0,
      type: words[at + NoticeRecord.type],
      code: words[at + NoticeRecord.code],
      offender: bytes.some((byte) => byte !== 0) ? formatIp(bytes) : undefined,
      mtu: words[at + NoticeRecord.mtu] ?? 0,
    };
  }

  /** What the kernel counted; indices are `Counter`. Valid until the next call. */
  kernelCounters(): Float64Array {
    this.#native.counters(this.#socket, this.#nativeCounters);
    return this.#nativeCounters;
  }
}
