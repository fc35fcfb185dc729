import { Btf } from './btf.ts';
import { argumentError, BpfError, checked, Errno, failed } from './errors.ts';
import { handleOf } from './handle.ts';
import { KernelMap } from './map.ts';
import { type Handle, loadNative, type Native, ObjectKind } from './native.ts';
import { openObjectFile } from './object.ts';
import { KernelLink, KernelProgram } from './program.ts';
import type {
  Bpf,
  BpfLink,
  BpfMap,
  BpfObjectSpec,
  BpfProgram,
  BtfType,
  CreateMapOptions,
  MapBtf,
  RingBuffer,
} from './types.ts';

export { Btf } from './btf.ts';
export { type BtfValue, btfJson, decodeBtf } from './btf-decode.ts';
export { BpfError, Errno, errnoName } from './errors.ts';
export type * from './types.ts';
export { BPF_MMAPABLE, BpfAttachType, BpfLinkType, BpfMapType } from './types.ts';

/** Cuts one round of the ring buffer into its records; `lengths` are u32 of the machine's order. */
function splitRound(slab: Buffer, lengths: Buffer): Buffer[] {
  const records: Buffer[] = [];
  let at = 0;
  for (let i = 0; i < lengths.length; i += 4) {
    const end = at + lengths.readUInt32LE(i);
    records.push(slab.subarray(at, end));
    at = end;
  }
  return records;
}

class RingReader implements RingBuffer {
  readonly #native: Native;
  readonly #handle: Handle;
  #open = true;

  constructor(native: Native, handle: Handle) {
    this.#native = native;
    this.#handle = handle;
  }

  consume(): number {
    if (!this.#open)
      throw new BpfError('the ring buffer was used after close()', {
        code: 'BPF_CLOSED',
        operation: 'consume',
      });
    return checked('read a ring buffer', this.#native.ringConsume(this.#handle));
  }

  close(): void {
    this.#open = false;
    this.#native.ringClose(this.#handle);
  }
}

class LibBpf implements Bpf {
  readonly #native: Native;
  constructor(native: Native) {
    this.#native = native;
  }

  openObject(path: string): BpfObjectSpec {
    return openObjectFile(this.#native, path);
  }

  createMap(options: CreateMapOptions): BpfMap {
    const { type, name, keySize, valueSize, maxEntries, flags = 0 } = options;
    const inner = options.inner === undefined ? undefined : handleOf(options.inner, 'map');
    const operation = `create map ${name}`;
    if (Buffer.byteLength(name) > 15)
      throw argumentError(operation, 'the kernel takes names of at most 15 bytes');
    const { btf } = options;
    const types = btf && Buffer.from(Uint32Array.of(btf.btfId, btf.keyTypeId, btf.valueTypeId).buffer);
    const result = this.#native.mapCreate(type, name, keySize, valueSize, maxEntries, flags, inner, types);
    return new KernelMap(this.#native, checked(operation, result) as Handle);
  }

  #open(operation: string, result: Handle | number): Handle | undefined {
    if (result === -Errno.ENOENT) return undefined;
    if (result === -Errno.EBADF)
      throw new BpfError(`${operation}: something of another kind is pinned there`, {
        code: 'BPF_WRONG_KIND',
        operation,
      });
    return checked(operation, result) as Handle;
  }

  openPinnedMap(path: string): BpfMap | undefined {
    const handle = this.#open(
      `open the map pinned at ${path}`,
      this.#native.openPinned(path, ObjectKind.map),
    );
    return handle && new KernelMap(this.#native, handle);
  }

  openPinnedProgram(path: string): BpfProgram | undefined {
    const result = this.#native.openPinned(path, ObjectKind.program);
    const handle = this.#open(`open the program pinned at ${path}`, result);
    return handle && new KernelProgram(this.#native, handle);
  }

  openPinnedLink(path: string): BpfLink | undefined {
    const handle = this.#open(
      `open the link pinned at ${path}`,
      this.#native.openPinned(path, ObjectKind.link),
    );
    return handle && new KernelLink(this.#native, handle);
  }

  mapFromDescriptor(descriptor: number): BpfMap {
    const operation = `open the map of descriptor ${descriptor}`;
    const result = this.#native.mapFromFd(descriptor);
    if (result === -Errno.EBADF || result === -Errno.EINVAL)
      throw new BpfError(`${operation}: it is none of a map`, { code: 'BPF_WRONG_KIND', operation });
    return new KernelMap(this.#native, checked(operation, result) as Handle);
  }

  mapById(id: number): BpfMap | undefined {
    const handle = this.#open(`open map ${id}`, this.#native.openById(ObjectKind.map, id));
    return handle && new KernelMap(this.#native, handle);
  }

  programById(id: number): BpfProgram | undefined {
    const handle = this.#open(`open program ${id}`, this.#native.openById(ObjectKind.program, id));
    return handle && new KernelProgram(this.#native, handle);
  }

  linkById(id: number): BpfLink | undefined {
    const handle = this.#open(`open link ${id}`, this.#native.openById(ObjectKind.link, id));
    return handle && new KernelLink(this.#native, handle);
  }

  listIds(kind: 'map' | 'program' | 'link'): readonly number[] {
    const ids: number[] = [];
    for (let id = 0; ; ) {
      id = this.#native.nextId(ObjectKind[kind], id);
      if (id === -Errno.ENOENT) return ids;
      if (id < 0) throw failed(`list ${kind}s`, id);
      ids.push(id);
    }
  }

  queryTcx(ifindex: number, attachType: number, netns?: string): readonly number[] {
    const result = this.#native.programQuery(ifindex, attachType, netns);
    return checked(`list the programs on interface ${ifindex}`, result) as readonly number[];
  }

  openRingBuffer(map: BpfMap, onRecords: (records: readonly Buffer[], lost: number) => void): RingBuffer {
    const operation = `open ring buffer ${map.info.name}`;
    if (map.info.type !== 27)
      throw argumentError(operation, `the map is of type ${map.info.type}, not a ring buffer`);
    const result = this.#native.ringOpen(handleOf(map, 'map'), (slab, lengths, lost) =>
      onRecords(splitRound(slab, lengths), lost),
    );
    return new RingReader(this.#native, checked(operation, result) as Handle);
  }

  findMapBtf(map: BpfMap, key: string, value: string): MapBtf | undefined {
    const { btfId, name } = map.info;
    if (btfId === 0) return undefined;
    const btf = new Btf(checked(`read the BTF of map ${name}`, this.#native.btfById(btfId)) as Buffer);
    const [keyTypeId, valueTypeId] = [btf.find(key), btf.find(value)];
    return keyTypeId === undefined || valueTypeId === undefined
      ? undefined
      : { btfId, keyTypeId, valueTypeId };
  }

  mapTypes(map: BpfMap): { readonly key: BtfType; readonly value: BtfType } | undefined {
    const { btfId, btfKeyTypeId, btfValueTypeId, name } = map.info;
    if (btfId === 0 || btfValueTypeId === 0) return undefined;
    const btf = new Btf(checked(`read the BTF of map ${name}`, this.#native.btfById(btfId)) as Buffer);
    return { key: btf.type(btfKeyTypeId), value: btf.type(btfValueTypeId) };
  }

  objectType(path: string, name: string): BtfType | undefined {
    const btf = new Btf(checked(`read the BTF of ${path}`, this.#native.btfOfFile(path)) as Buffer);
    const id = btf.find(name);
    return id === undefined ? undefined : btf.type(id);
  }

  possibleCpus(): number {
    return checked('count the possible CPUs', this.#native.possibleCpus());
  }

  mountBpffs(path: string): boolean {
    if (checked(`look at ${path}`, this.#native.isBpffs(path)) === 1) return false;
    checked(`mount a bpffs on ${path}`, this.#native.mountBpffs(path));
    return true;
  }

  unmountBpffs(path: string): void {
    if (checked(`look at ${path}`, this.#native.isBpffs(path)) === 0)
      throw argumentError(`unmount ${path}`, 'no bpffs is mounted there');
    checked(`unmount ${path}`, this.#native.unmount(path));
  }
}

/** The kernel's BPF objects. @throws SystemError ADDON_MISSING when `build/bpf.node` was not built */
export function loadBpf(): Bpf {
  return new LibBpf(loadNative());
}
