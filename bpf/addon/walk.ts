import { BpfError, Errno, failed } from './errors.ts';
import { compareLpmKeys } from './lpm-order.ts';
import type { Handle, Native } from './native.ts';
import type { BpfBatch, BpfMapInfo } from './types.ts';
import { BpfMapType } from './types.ts';

/** Most bytes of one batch of a walk, unless the map's own buckets need more. */
const BATCH_BYTES = 4 << 20;
const MOST_RETRIES = 64;

export interface WalkOptions {
  readonly native: Native;
  readonly handle: () => Handle;
  readonly info: BpfMapInfo;
  readonly stride: number;
  readonly entriesPerBatch: number | undefined;
}

function entriesPerBatch({ info, stride, entriesPerBatch: asked }: WalkOptions): number {
  const fitting = Math.max(1, Math.floor(BATCH_BYTES / (info.keySize + stride)));
  // A hash bucket must fit as a whole, so a small batch over a big map is asking for ENOSPC.
  return Math.max(1, Math.min(asked ?? fitting, fitting, Math.max(info.maxEntries, 64)));
}

const UNSUPPORTED: readonly number[] = [Errno.ENOTSUPP, Errno.EOPNOTSUPP, Errno.EINVAL];

/** Why a batch could not be read, for the walk to act on. */
type BatchStep =
  | { readonly kind: 'entries'; readonly batch: BpfBatch; readonly end: boolean }
  | { readonly kind: 'unsupported' };

interface Cursor {
  current: Buffer | undefined;
  next: Buffer;
}

/**
 * Reads one batch, growing it while a bucket does not fit (ENOSPC) and repeating it while entries vanish under the
 * kernel's hands (EINTR, EAGAIN).
 */
function readBatch(options: WalkOptions, cursor: Cursor, size: { entries: number }): BatchStep {
  const { native, info, stride } = options;
  const count = Buffer.alloc(4);
  for (let attempt = 0; attempt < MOST_RETRIES; attempt++) {
    const keys = Buffer.allocUnsafeSlow(size.entries * info.keySize);
    const values = Buffer.allocUnsafeSlow(size.entries * stride);
    count.writeUInt32LE(size.entries);
    const status = native.mapLookupBatch(options.handle(), cursor.current, cursor.next, keys, values, count);
    if (status === 0 || status === -Errno.ENOENT) {
      const done = count.readUInt32LE();
      const batch = {
        keys: keys.subarray(0, done * info.keySize),
        values: values.subarray(0, done * stride),
        count: done,
      };
      return { kind: 'entries', batch, end: status !== 0 };
    }
    if (status === -Errno.ENOSPC) size.entries *= 2;
    else if (cursor.current === undefined && UNSUPPORTED.includes(-status)) return { kind: 'unsupported' };
    else if (status !== -Errno.EINTR && status !== -Errno.EAGAIN)
      throw failed(`walk map ${info.name}`, status);
  }
  throw unstable(info);
}

function unstable(info: BpfMapInfo): BpfError {
  return new BpfError(`walk map ${info.name}: it changes faster than it can be read`, {
    code: 'BPF_WALK_UNSTABLE',
    operation: `walk map ${info.name}`,
  });
}

/** Drops what the walk of a trie has given before; see `compareLpmKeys`. */
function unseen(batch: BpfBatch, info: BpfMapInfo, last: Buffer | undefined): BpfBatch {
  if (last === undefined || batch.count === 0) return batch;
  const stride = batch.values.length / batch.count;
  let from = 0;
  const keyAt = (i: number): Buffer => batch.keys.subarray(i * info.keySize, (i + 1) * info.keySize);
  if (compareLpmKeys(keyAt(0), last) > 0) return batch;
  while (from < batch.count && compareLpmKeys(keyAt(from), last) <= 0) from++;
  return {
    keys: batch.keys.subarray(from * info.keySize),
    values: batch.values.subarray(from * stride),
    count: batch.count - from,
  };
}

/** Cuts a trie's batch where the kernel started over inside it: from there on it repeats. */
function untilRestart(batch: BpfBatch, info: BpfMapInfo): { batch: BpfBatch; restarted: boolean } {
  for (let i = 1; i < batch.count; i++) {
    const before = batch.keys.subarray((i - 1) * info.keySize, i * info.keySize);
    const after = batch.keys.subarray(i * info.keySize, (i + 1) * info.keySize);
    if (compareLpmKeys(after, before) > 0) continue;
    const stride = batch.values.length / batch.count;
    const keys = batch.keys.subarray(0, i * info.keySize);
    return { batch: { keys, values: batch.values.subarray(0, i * stride), count: i }, restarted: true };
  }
  return { batch, restarted: false };
}

/** The walk of a trie starts over, at most `MOST_RETRIES` times, and skips what it gave already. */
function* walkTrie(
  options: WalkOptions,
  first: BatchStep,
  cursor: Cursor,
  size: { entries: number },
): IterableIterator<BpfBatch> {
  const { info } = options;
  let step = first;
  let last: Buffer | undefined;
  let restarts = 0;
  while (step.kind === 'entries') {
    const { batch, restarted } = untilRestart(step.batch, info);
    const fresh = unseen(batch, info, last);
    if (fresh.count > 0) last = Buffer.from(fresh.keys.subarray(-info.keySize));
    if (fresh.count > 0) yield fresh;
    if (step.end && !restarted) return;
    if (restarted && ++restarts > MOST_RETRIES) throw unstable(info);
    cursor.current = restarted ? undefined : cursor.next;
    cursor.next = Buffer.alloc(Math.max(8, info.keySize));
    step = readBatch(options, cursor, size);
  }
}

function* walkBatches(
  options: WalkOptions,
  first: BatchStep,
  cursor: Cursor,
  size: { entries: number },
): IterableIterator<BpfBatch> {
  let step = first;
  while (step.kind === 'entries') {
    if (step.batch.count > 0) yield step.batch;
    if (step.end) return;
    cursor.current = cursor.next;
    cursor.next = Buffer.alloc(Math.max(8, options.info.keySize));
    step = readBatch(options, cursor, size);
  }
}

/** Key by key, for maps without a batch call. Remembers the keys: the kernel starts over when one vanishes. */
function* walkKeys(options: WalkOptions): IterableIterator<BpfBatch> {
  const { native, info, stride } = options;
  const room = Math.min(entriesPerBatch(options), 1024);
  const seen = new Set<string>();
  let key: Buffer | undefined;
  let keys: Buffer[] = [];
  let values: Buffer[] = [];
  const take = (): BpfBatch => {
    const batch = { keys: Buffer.concat(keys), values: Buffer.concat(values), count: keys.length };
    keys = [];
    values = [];
    return batch;
  };
  for (let steps = 0; steps <= (info.maxEntries + 1) * MOST_RETRIES; steps++) {
    const next = Buffer.alloc(info.keySize);
    const status = native.mapNextKey(options.handle(), key, next);
    if (status === -Errno.ENOENT) {
      if (keys.length > 0) yield take();
      return;
    }
    if (status < 0) throw failed(`walk map ${info.name}`, status);
    key = next;
    const text = next.toString('latin1');
    if (seen.has(text)) continue;
    seen.add(text);
    const value = Buffer.alloc(stride);
    const found = native.mapLookup(options.handle(), next, value);
    if (found === -Errno.ENOENT) continue;
    if (found < 0) throw failed(`walk map ${info.name}`, found);
    keys.push(next);
    values.push(value);
    if (keys.length === room) yield take();
  }
  throw unstable(info);
}

/**
 * All entries of a map, a bounded batch at a time. An entry that is there during the whole walk comes exactly once,
 * whatever else is added or removed meanwhile.
 * @throws BpfError BPF_WALK_UNSTABLE when entries vanish faster than the walk proceeds
 */
export function* walkMap(options: WalkOptions): IterableIterator<BpfBatch> {
  const cursor: Cursor = { current: undefined, next: Buffer.alloc(Math.max(8, options.info.keySize)) };
  const size = { entries: entriesPerBatch(options) };
  const first = readBatch(options, cursor, size);
  if (first.kind === 'unsupported') yield* walkKeys(options);
  else if (options.info.type === BpfMapType.lpmTrie) yield* walkTrie(options, first, cursor, size);
  else yield* walkBatches(options, first, cursor, size);
}

/** `readBatch` on a thread of the pool. @returns undefined: the map has no batch call */
async function readBatchAsync(
  options: WalkOptions,
  cursor: Buffer | undefined,
  size: { entries: number },
): Promise<{ readonly batch: BpfBatch; readonly next: Buffer; readonly end: boolean } | undefined> {
  const { native, info } = options;
  for (let attempt = 0; attempt < MOST_RETRIES; attempt++) {
    const [status, next, keys, values] = await native.mapLookupBatchAsync(
      options.handle(),
      cursor,
      size.entries,
    );
    if (status === 0 || status === -Errno.ENOENT) {
      return { batch: { keys, values, count: keys.length / info.keySize }, next, end: status !== 0 };
    }
    if (status === -Errno.ENOSPC) size.entries *= 2;
    else if (cursor === undefined && UNSUPPORTED.includes(-status)) return undefined;
    else if (status !== -Errno.EINTR && status !== -Errno.EAGAIN)
      throw failed(`walk map ${info.name}`, status);
  }
  throw unstable(info);
}

/** `walkMap`, where the event loop goes on while the kernel reads a batch. @throws as `walkMap` does */
export async function* walkMapAsync(options: WalkOptions): AsyncIterableIterator<BpfBatch> {
  const size = { entries: entriesPerBatch(options) };
  const isTrie = options.info.type === BpfMapType.lpmTrie;
  let step = isTrie ? undefined : await readBatchAsync(options, undefined, size);
  if (step === undefined) {
    yield* walkMap(options);
    return;
  }
  for (;;) {
    if (step.batch.count > 0) yield step.batch;
    if (step.end) return;
    step = await readBatchAsync(options, step.next, size);
    if (step === undefined) throw unstable(options.info);
  }
}
