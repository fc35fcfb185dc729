import { loadAddon } from '../../src/base/assets.ts';

/** A handle of the addon: an external value that closes itself when it is collected. */
export type Handle = object & { readonly __bpfHandle: unique symbol };

/** 0 or more, or -errno. */
type Status = number;
/** A value, or -errno. */
type Result<T> = T | number;

export const ObjectKind = { map: 0, program: 1, link: 2 } as const;

/** The functions of `build/bpf.node`; the comment before each in C is its contract. */
export interface Native {
  takeLog(): string;
  handleClose(handle: Handle): void;
  handlePin(handle: Handle, path: string): Status;
  mapFromFd(descriptor: number): Result<Handle>;
  mapReadOnlyFd(map: Handle): Result<number>;
  mapFd(map: Handle): Result<number>;
  objectOpen(path: string): Result<Handle>;
  objectNames(object: Handle, kind: 0 | 1): string[];
  objectMapShape(object: Handle, map: number): readonly number[];
  objectSetRodata(object: Handle, name: string, value: Uint8Array): Status;
  objectSetMaxEntries(object: Handle, map: number, entries: number): Status;
  objectReuseMap(object: Handle, map: number, with_: Handle): Status;
  objectSetInner(object: Handle, map: number, inner: Handle): Status;
  objectSetAutoload(object: Handle, program: number, on: 0 | 1): Status;
  objectLoad(object: Handle): Status;
  objectMap(object: Handle, map: number): Result<Handle>;
  objectProgram(object: Handle, program: number): Result<Handle>;
  objectClose(object: Handle): void;
  mapCreate(
    type: number,
    name: string,
    keyBytes: number,
    valueBytes: number,
    maxEntries: number,
    flags: number,
    inner: Handle | undefined,
    /** Three u32 of the machine's order: id of a BTF object, types of key and value. */
    btf: Uint8Array | undefined,
  ): Result<Handle>;
  mapInfo(map: Handle): Result<readonly number[]>;
  mapName(map: Handle): Result<string>;
  mapLookup(map: Handle, key: Uint8Array, value: Uint8Array): Status;
  mapUpdate(map: Handle, key: Uint8Array, value: Uint8Array, flags: number): Status;
  mapUpdateFd(map: Handle, key: Uint8Array, stored: Handle): Status;
  mapUpdateFdAsync(map: Handle, key: Uint8Array, stored: Handle): Promise<Status>;
  mapDelete(map: Handle, key: Uint8Array): Status;
  mapNextKey(map: Handle, key: Uint8Array | undefined, next: Uint8Array): Status;
  mapFreeze(map: Handle): Status;
  mapMemory(map: Handle): Result<ArrayBuffer>;
  mapLookupBatch(
    map: Handle,
    cursor: Uint8Array | undefined,
    nextCursor: Uint8Array,
    keys: Uint8Array,
    values: Uint8Array,
    count: Uint8Array,
  ): Status;
  mapLookupBatchAsync(
    map: Handle,
    cursor: Uint8Array | undefined,
    entries: number,
  ): Promise<readonly [status: Status, next: Buffer, keys: Buffer, values: Buffer]>;
  mapUpdateBatch(map: Handle, keys: Uint8Array, values: Uint8Array, count: Uint8Array): Status;
  mapDeleteBatch(map: Handle, keys: Uint8Array, count: Uint8Array): Status;
  programInfo(program: Handle): Result<readonly number[]>;
  programName(program: Handle): Result<string>;
  programTag(program: Handle): Result<Buffer>;
  programTestRun(
    program: Handle,
    data: Uint8Array,
    repeat: number,
    ctx: Uint8Array | undefined,
    out: Uint8Array,
    ctxOut: Uint8Array | undefined,
  ): Result<readonly number[]>;
  programQuery(ifindex: number, attachType: number, netns: string | undefined): Result<readonly number[]>;
  linkCreate(
    program: Handle,
    target: number,
    attachType: number,
    netns: string | undefined,
    first: boolean | undefined,
  ): Result<Handle>;
  linkCreateAsync(
    program: Handle,
    target: number,
    attachType: number,
    netns: string | undefined,
    first: boolean | undefined,
  ): Promise<Result<Handle>>;
  linkInfo(link: Handle): Result<readonly number[]>;
  linkUpdate(link: Handle, program: Handle, old: Handle | undefined): Status;
  linkDetach(link: Handle): Status;
  ringOpen(map: Handle, onRound: (slab: Buffer, lengths: Buffer, lost: number) => void): Result<Handle>;
  ringConsume(ring: Handle): Status;
  ringClose(ring: Handle): void;
  btfById(id: number): Result<Buffer>;
  btfOfFile(path: string): Result<Buffer>;
  openPinned(path: string, kind: number): Result<Handle>;
  openById(kind: number, id: number): Result<Handle>;
  nextId(kind: number, after: number): Status;
  possibleCpus(): Status;
  isBpffs(path: string): Status;
  mountBpffs(path: string): Status;
  unmount(path: string): Status;
}

/** @throws SystemError ADDON_MISSING when it was not built */
export function loadNative(): Native {
  return loadAddon<Native>('bpf.node');
}
