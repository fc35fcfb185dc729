/**
 * The contract of the libbpf addon: the kernel's BPF objects as handles. Every failure is a `BpfError` with the
 * errno's name; a missing key is a value (`undefined`), not an error.
 */

/** 32-bit numbers of `enum bpf_map_type`, `uapi/linux/bpf.h`. */
export const BpfMapType = {
  hash: 1,
  array: 2,
  progArray: 3,
  perCpuHash: 5,
  perCpuArray: 6,
  lruHash: 9,
  lruPerCpuHash: 10,
  lpmTrie: 11,
  arrayOfMaps: 12,
  hashOfMaps: 13,
  ringbuf: 27,
} as const;

/** Attach types of `enum bpf_attach_type`; bookworm's headers lack the tcx ones. */
export const BpfAttachType = {
  cgroupInetIngress: 0,
  cgroupInetEgress: 1,
  tcxIngress: 46,
  tcxEgress: 47,
} as const;

/** Numbers of `enum bpf_link_type`. */
export const BpfLinkType = { cgroup: 3, tcx: 11 } as const;

export interface BpfMapInfo {
  readonly id: number;
  readonly type: number;
  readonly name: string;
  readonly keySize: number;
  /** For a per-CPU map the size of one CPU's value; see `valueStride`. */
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** BTF object and type ids of key and value; 0 when the map has none. */
  readonly btfId: number;
  readonly btfKeyTypeId: number;
  readonly btfValueTypeId: number;
}

export interface BpfProgInfo {
  readonly id: number;
  readonly type: number;
  readonly name: string;
  readonly tag: string;
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
  readonly xlatedBytes: number;
  readonly jitedBytes: number;
  readonly verifiedInsns: number;
  readonly mapIds: readonly number[];
}

export interface BpfLinkInfo {
  readonly id: number;
  readonly type: number;
  readonly progId: number;
  /** tcx links. */
  readonly ifindex?: number;
  readonly attachType?: number;
}

/** Key and value buffers of one batch, entry after entry. For per-CPU maps a value is `valueStride` bytes. */
export interface BpfBatch {
  readonly keys: Buffer;
  readonly values: Buffer;
  readonly count: number;
}

/** `BPF_F_MMAPABLE`, uapi/linux/bpf.h. */
export const BPF_MMAPABLE = 1 << 10;

/** Values of an array map as they are at the moment of each read: the kernel's own memory. */
export interface SharedValues {
  /** The first four bytes of an entry as a number in the machine's order. @throws BpfError BPF_ARGUMENT beyond the last one */
  u32(index: number): number;
}

export interface BpfMap {
  readonly info: BpfMapInfo;
  /** Bytes of one value in `lookup`, `update` and batches: `valueSize`, or 8-aligned times possible CPUs. */
  readonly valueStride: number;
  lookup(key: Uint8Array): Buffer | undefined;
  /** @param mode 'any' (default), 'create' (EEXIST when there), 'replace' (ENOENT when absent) */
  update(key: Uint8Array, value: Uint8Array, mode?: 'any' | 'create' | 'replace'): void;
  /** @returns false when the key was not there */
  delete(key: Uint8Array): boolean;
  /** Key after `key`, or the first; undefined at the end. */
  nextKey(key: Uint8Array | undefined): Buffer | undefined;
  /** All entries, by the kernel's batch call where the map has one, else key by key. Bounded memory. */
  batches(entriesPerBatch?: number): IterableIterator<BpfBatch>;
  /**
   * The same, each batch read by a thread of the pool: the event loop goes on while the kernel looks through a big map.
   * Tries, and maps without a batch call, are read as by `batches`.
   */
  batchesAsync(entriesPerBatch?: number): AsyncIterableIterator<BpfBatch>;
  /** `keys` and `values` hold `count` entries; returns how many were written before a failure was thrown. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): number;
  deleteBatch(keys: Uint8Array, count: number): number;
  /** Stores an inner map in a map of maps. */
  updateInner(key: Uint8Array, inner: BpfMap): void;
  /** As `updateInner`, while the event loop goes on: the kernel takes about 12 ms. Keys of up to 8 bytes. */
  updateInnerAsync(key: Uint8Array, inner: BpfMap): Promise<void>;
  /** Stores a program in a program array, for tail calls. */
  updateProgram(key: Uint8Array, program: BpfProgram): void;
  freeze(): void;
  /**
   * The values of an array map that was made with `BPF_MMAPABLE`, to be read without a system call; good until they are
   * collected. A descriptor that can only look things up does not do (EINVAL).
   */
  sharedValues(): SharedValues;
  /** A descriptor of this map that can only look things up; close-on-exec, the caller's to close. Needs CAP_SYS_ADMIN. */
  readOnlyDescriptor(): number;
  /** A descriptor of this map, to map its memory; close-on-exec, the caller's to close. */
  descriptor(): number;
  pin(path: string): void;
  close(): void;
}

export interface TestRunOptions {
  readonly data: Uint8Array;
  /**
   * Default 1. A signal meanwhile starts a repeated run anew, so the program may run more often than this (never with
   * 1): count side effects by single runs.
   */
  readonly repeat?: number;
  /** A `struct __sk_buff` image for tc programs; the kernel refuses fields that may not be set (EINVAL). */
  readonly ctx?: Uint8Array;
}

export interface TestRunResult {
  readonly retval: number;
  /** Mean of one repetition. */
  readonly durationNs: number;
  readonly data: Buffer;
  /** The context afterwards, when one was given. */
  readonly ctx: Buffer | undefined;
}

export interface AttachOptions {
  readonly attachType: number;
  readonly ifindex?: number;
  readonly cgroupFd?: number;
  /** Path of the network namespace that `ifindex` belongs to; default: the caller's. */
  readonly netns?: string | undefined;
  /** Before all other programs of the hook, for now; default: behind them. tcx only. */
  readonly first?: boolean | undefined;
}

export interface BpfProgram {
  readonly info: BpfProgInfo;
  readonly name: string;
  /** BPF_PROG_TEST_RUN. Blocks for the whole run. */
  testRun(options: TestRunOptions): TestRunResult;
  /** Attaches by link: tcx (`ifindex`) or cgroup (`cgroupFd`). */
  attach(options: AttachOptions): BpfLink;
  /** As `attach`, while the event loop goes on: the kernel takes 8 to 16 ms for a tcx link. */
  attachAsync(options: AttachOptions): Promise<BpfLink>;
  pin(path: string): void;
  close(): void;
}

export interface BpfLink {
  readonly info: BpfLinkInfo;
  /** Replaces the program atomically; with `old` only if that one is attached (EPERM otherwise). */
  update(program: BpfProgram, old?: BpfProgram): void;
  /** Detaches now, whoever else holds the link. */
  detach(): void;
  pin(path: string): void;
  close(): void;
}

/** An object file that was opened, not yet loaded. */
export interface BpfObjectSpec {
  readonly mapNames: readonly string[];
  readonly programNames: readonly string[];
  /** Overwrites a global of `.rodata` (its name as in C) before load; the size must fit. */
  setRodata(name: string, value: Uint8Array): void;
  setMaxEntries(mapName: string, entries: number): void;
  /** Uses the map pinned at `path` instead of creating one; throws BPF_MAP_MISMATCH when its shape differs. */
  reusePinned(mapName: string, path: string): void;
  /** Gives a map-in-map the shape of its inner maps. */
  setInnerMap(mapName: string, inner: BpfMap): void;
  /** Whether a program is loaded with the others; all are by default. */
  setAutoload(programName: string, on: boolean): void;
  /** @throws BpfError BPF_LOAD with the end of the verifier's log in `verifierLog` */
  load(): BpfObject;
  close(): void;
}

/** A loaded object. What `map` and `program` give out is the caller's to close and outlives the object. */
export interface BpfObject {
  map(name: string): BpfMap;
  program(name: string): BpfProgram;
  close(): void;
}

/** Which BTF object describes a map, and its types for key and value there. */
export interface MapBtf {
  readonly btfId: number;
  readonly keyTypeId: number;
  readonly valueTypeId: number;
}

export interface CreateMapOptions {
  readonly type: number;
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
  /** Maps of maps: the shape of the inner ones. */
  readonly inner?: BpfMap;
  readonly btf?: MapBtf | undefined;
}

export interface RingBuffer {
  /** Delivers now what is ready, also records sent without a wake-up. @returns how many */
  consume(): number;
  /** Stops polling and releases the mapping. */
  close(): void;
}

/** One type of a BTF object, resolved through typedefs and qualifiers. */
export type BtfType =
  | {
      readonly kind: 'int';
      readonly name: string;
      readonly sizeBytes: number;
      readonly signed: boolean;
      /** Outermost typedef: `__be16`, `__u8`. */
      readonly typedef?: string;
    }
  | { readonly kind: 'array'; readonly element: BtfType; readonly length: number; readonly sizeBytes: number }
  | {
      readonly kind: 'struct' | 'union';
      readonly name: string;
      readonly sizeBytes: number;
      readonly members: readonly {
        readonly name: string;
        readonly offsetBits: number;
        /** 0 when it is not a bit field. */
        readonly bits: number;
        readonly type: BtfType;
      }[];
    }
  | {
      readonly kind: 'enum';
      readonly name: string;
      readonly sizeBytes: number;
      /** Names by value, the value as decimal text. */
      readonly values?: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'other'; readonly name: string; readonly sizeBytes: number };

export interface Bpf {
  openObject(path: string): BpfObjectSpec;
  createMap(options: CreateMapOptions): BpfMap;
  /** undefined when nothing is pinned there. */
  openPinnedMap(path: string): BpfMap | undefined;
  openPinnedLink(path: string): BpfLink | undefined;
  openPinnedProgram(path: string): BpfProgram | undefined;
  /** A map that this process inherited; the descriptor stays the caller's. @throws BpfError BPF_WRONG_KIND */
  mapFromDescriptor(descriptor: number): BpfMap;
  mapById(id: number): BpfMap | undefined;
  programById(id: number): BpfProgram | undefined;
  linkById(id: number): BpfLink | undefined;
  /** Ids of all objects of a kind in this kernel. */
  listIds(kind: 'map' | 'program' | 'link'): readonly number[];
  /** Ids of the programs on a hook, in order (BPF_PROG_QUERY). */
  queryTcx(ifindex: number, attachType: number, netns?: string): readonly number[];
  /**
   * Calls back once a wake-up with the records that were ready, 32 KiB at most; the rest comes in the next turn of the
   * event loop. After a wake-up with less there is none for 5 ms. The buffers are copies. `lost` counts records that were
   * read since the last call but had no room in memory.
   */
  openRingBuffer(map: BpfMap, onRecords: (records: readonly Buffer[], lost: number) => void): RingBuffer;
  /** The structs of these names in the BTF of a map; undefined when it has none, or not both of them. */
  findMapBtf(map: BpfMap, key: string, value: string): MapBtf | undefined;
  /** Types of key and value of a map that has BTF. */
  mapTypes(map: BpfMap): { readonly key: BtfType; readonly value: BtfType } | undefined;
  /** A named struct or union in the BTF of an object file. */
  objectType(path: string, name: string): BtfType | undefined;
  possibleCpus(): number;
  /** Mounts a bpffs on an existing folder; a no-op if one is there. @returns whether it mounted */
  mountBpffs(path: string): boolean;
  unmountBpffs(path: string): void;
}
