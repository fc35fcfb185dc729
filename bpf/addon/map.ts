import { argumentError, BpfError, checked, Errno, failed } from './errors.ts';
import { handleOf, Owned } from './handle.ts';
import type { Handle, Native } from './native.ts';
import {
  type BpfBatch,
  type BpfMap,
  type BpfMapInfo,
  BpfMapType,
  type BpfProgram,
  type SharedValues,
} from './types.ts';
import { type WalkOptions, walkMap, walkMapAsync } from './walk.ts';

/** Of the values of an array map in the kernel's memory, bytes. */
const VALUE_ALIGNMENT = 8;
const UPDATE_FLAGS = { any: 0, create: 1, replace: 2 } as const;

/** A map of the kernel through a descriptor of ours. */
export class KernelMap extends Owned implements BpfMap {
  readonly info: BpfMapInfo;
  readonly valueStride: number;

  constructor(native: Native, handle: Handle) {
    super(native, handle, 'map');
    const name = checked('read a map’s name', native.mapName(handle)) as string;
    const numbers = checked('read a map’s description', native.mapInfo(handle)) as readonly number[];
    const [id = 0, type = 0, keySize = 0, valueSize = 0, maxEntries = 0] = numbers;
    const [flags = 0, btfId = 0, btfKeyTypeId = 0, btfValueTypeId = 0, stride = 0] = numbers.slice(5);
    this.info = {
      id,
      type,
      name,
      keySize,
      valueSize,
      maxEntries,
      flags,
      btfId,
      btfKeyTypeId,
      btfValueTypeId,
    };
    this.valueStride = stride;
  }

  #key(operation: string, key: Uint8Array): void {
    if (key.length !== this.info.keySize)
      throw argumentError(
        `${operation} in map ${this.info.name}`,
        `the key has ${key.length} bytes, the map's keys have ${this.info.keySize}`,
      );
  }

  #value(operation: string, value: Uint8Array): void {
    if (value.length !== this.valueStride)
      throw argumentError(
        `${operation} in map ${this.info.name}`,
        `the value has ${value.length} bytes, the map's values have ${this.valueStride}`,
      );
  }

  lookup(key: Uint8Array): Buffer | undefined {
    this.#key('lookup', key);
    const value = Buffer.allocUnsafe(this.valueStride);
    const status = this.native.mapLookup(this.handle, key, value);
    if (status === 0) return value;
    if (status === -Errno.ENOENT) return undefined;
    throw failed(`lookup in map ${this.info.name}`, status);
  }

  update(key: Uint8Array, value: Uint8Array, mode: 'any' | 'create' | 'replace' = 'any'): void {
    this.#key('update', key);
    this.#value('update', value);
    const status = this.native.mapUpdate(this.handle, key, value, UPDATE_FLAGS[mode]);
    if (status < 0) throw failed(`update in map ${this.info.name}`, status);
  }

  delete(key: Uint8Array): boolean {
    this.#key('delete', key);
    const status = this.native.mapDelete(this.handle, key);
    if (status === -Errno.ENOENT) return false;
    if (status < 0) throw failed(`delete in map ${this.info.name}`, status);
    return true;
  }

  nextKey(key: Uint8Array | undefined): Buffer | undefined {
    if (key !== undefined) this.#key('nextKey', key);
    const next = Buffer.alloc(this.info.keySize);
    const status = this.native.mapNextKey(this.handle, key, next);
    if (status === 0) return next;
    if (status === -Errno.ENOENT) return undefined;
    throw failed(`next key of map ${this.info.name}`, status);
  }

  batches(entriesPerBatch?: number): IterableIterator<BpfBatch> {
    return walkMap(this.#walk(entriesPerBatch));
  }

  batchesAsync(entriesPerBatch?: number): AsyncIterableIterator<BpfBatch> {
    return walkMapAsync(this.#walk(entriesPerBatch));
  }

  #walk(entriesPerBatch: number | undefined): WalkOptions {
    if (entriesPerBatch !== undefined && !(Number.isInteger(entriesPerBatch) && entriesPerBatch > 0))
      throw argumentError(`walk map ${this.info.name}`, 'entriesPerBatch must be a positive integer');
    return {
      native: this.native,
      handle: () => this.handle,
      info: this.info,
      stride: this.valueStride,
      entriesPerBatch,
    };
  }

  #batch(operation: string, count: number, buffers: readonly (readonly [Uint8Array, number])[]): void {
    if (!Number.isInteger(count) || count < 0 || count > 0xffffffff)
      throw argumentError(`${operation} in map ${this.info.name}`, `${count} is not a count of entries`);
    for (const [buffer, each] of buffers)
      if (buffer.length < count * each)
        throw argumentError(
          `${operation} in map ${this.info.name}`,
          `${buffer.length} bytes do not hold ${count} entries of ${each} bytes`,
        );
  }

  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): number {
    this.#batch('updateBatch', count, [
      [keys, this.info.keySize],
      [values, this.valueStride],
    ]);
    if (count === 0) return 0;
    const done = Buffer.alloc(4);
    done.writeUInt32LE(count);
    const status = this.native.mapUpdateBatch(this.handle, keys, values, done);
    if (status === 0) return count;
    const written = done.readUInt32LE();
    if (written === 0 && isUnsupported(status)) return this.#updateEach(keys, values, count);
    throw failed(`batch update in map ${this.info.name} after ${written} of ${count} entries`, status, {
      done: written,
    });
  }

  #updateEach(keys: Uint8Array, values: Uint8Array, count: number): number {
    const { keySize } = this.info;
    const stride = this.valueStride;
    for (let i = 0; i < count; i++) {
      const key = keys.subarray(i * keySize, (i + 1) * keySize);
      const status = this.native.mapUpdate(
        this.handle,
        key,
        values.subarray(i * stride, (i + 1) * stride),
        0,
      );
      if (status < 0)
        throw failed(`update in map ${this.info.name} after ${i} of ${count} entries`, status, { done: i });
    }
    return count;
  }

  /** Keys that are not there are passed over. @returns how many were deleted */
  deleteBatch(keys: Uint8Array, count: number): number {
    this.#batch('deleteBatch', count, [[keys, this.info.keySize]]);
    const { keySize, name } = this.info;
    let at = 0;
    let deleted = 0;
    while (at < count) {
      const done = Buffer.alloc(4);
      done.writeUInt32LE(count - at);
      const status = this.native.mapDeleteBatch(
        this.handle,
        keys.subarray(at * keySize, count * keySize),
        done,
      );
      const now = status === 0 ? count - at : done.readUInt32LE();
      if (status < 0 && now === 0 && isUnsupported(status))
        return deleted + this.#deleteEach(keys, at, count);
      deleted += now;
      at += now;
      if (status === -Errno.ENOENT) at++;
      else if (status < 0)
        throw failed(`batch delete in map ${name} after ${deleted} of ${count} entries`, status, {
          done: deleted,
        });
    }
    return deleted;
  }

  #deleteEach(keys: Uint8Array, from: number, count: number): number {
    const { keySize } = this.info;
    let deleted = 0;
    for (let i = from; i < count; i++)
      if (this.delete(keys.subarray(i * keySize, (i + 1) * keySize))) deleted++;
    return deleted;
  }

  updateInner(key: Uint8Array, inner: BpfMap): void {
    this.#storeHandle(key, inner, 'map');
  }

  async updateInnerAsync(key: Uint8Array, inner: BpfMap): Promise<void> {
    const { name } = this.info;
    this.#checkHolder(key, 'map');
    const status = await this.native.mapUpdateFdAsync(this.handle, key, handleOf(inner, 'map'));
    if (status < 0) throw failed(`store a map in map ${name}`, status);
  }

  updateProgram(key: Uint8Array, program: BpfProgram): void {
    this.#storeHandle(key, program, 'program');
  }

  #checkHolder(key: Uint8Array, what: string): void {
    this.#key('update', key);
    if (this.valueStride !== 4)
      throw argumentError(`update in map ${this.info.name}`, `it does not hold ${what}s`);
  }

  #storeHandle(key: Uint8Array, stored: object, what: string): void {
    this.#checkHolder(key, what);
    const status = this.native.mapUpdateFd(this.handle, key, handleOf(stored, what));
    if (status < 0) throw failed(`store a ${what} in map ${this.info.name}`, status);
  }

  readOnlyDescriptor(): number {
    return checked(
      `open map ${this.info.name} for reading`,
      this.native.mapReadOnlyFd(this.handle),
    ) as number;
  }

  descriptor(): number {
    return checked(`open map ${this.info.name} for its memory`, this.native.mapFd(this.handle)) as number;
  }

  sharedValues(): SharedValues {
    const { name, type, valueSize, maxEntries } = this.info;
    const operation = `map the values of ${name}`;
    if (type !== BpfMapType.array || valueSize < 4)
      throw argumentError(operation, 'it is no array of numbers');
    const memory = checked(operation, this.native.mapMemory(this.handle)) as ArrayBuffer;
    const words = new Uint32Array(memory);
    const stride = Math.ceil(valueSize / VALUE_ALIGNMENT) * (VALUE_ALIGNMENT / words.BYTES_PER_ELEMENT);
    return {
      u32(index) {
        const value = Number.isInteger(index) && index < maxEntries ? words[index * stride] : undefined;
        if (value === undefined) throw argumentError(operation, `there is no entry ${index}`);
        return value;
      },
    };
  }

  freeze(): void {
    checked(`freeze map ${this.info.name}`, this.native.mapFreeze(this.handle));
  }
}

function isUnsupported(status: number): boolean {
  return status === -Errno.ENOTSUPP || status === -Errno.EOPNOTSUPP;
}

/** @throws BpfError BPF_MAP_MISMATCH that names every field that differs */
export function requireShape(
  what: string,
  want: Readonly<Record<string, number>>,
  have: Readonly<Record<string, number>>,
): void {
  const differing = Object.keys(want).filter((field) => want[field] !== have[field]);
  if (differing.length === 0) return;
  const list = differing.map((field) => `${field} is ${have[field]}, wanted ${want[field]}`).join('; ');
  throw new BpfError(`${what} has another shape: ${list}`, {
    code: 'BPF_MAP_MISMATCH',
    operation: what,
    hint: 'a map of another version lies there; remove the pin to start with an empty map',
  });
}
