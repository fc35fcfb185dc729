import { ExitCode } from '../../src/base/errors.ts';
import { argumentError, BpfError, checked, Errno, errnoName } from './errors.ts';
import { handleOf } from './handle.ts';
import { KernelMap, requireShape } from './map.ts';
import { type Handle, type Native, ObjectKind } from './native.ts';
import { KernelProgram } from './program.ts';
import type { BpfMap, BpfObject, BpfObjectSpec, BpfProgram } from './types.ts';
import { readLoadFailure } from './verifier-log.ts';

/** What an open and a loaded object share: names and positions, and the one handle of libbpf's. */
class ObjectFile {
  readonly native: Native;
  readonly path: string;
  readonly mapNames: readonly string[];
  readonly programNames: readonly string[];
  readonly #handle: Handle;
  #closed = false;

  constructor(native: Native, path: string, handle: Handle) {
    this.native = native;
    this.path = path;
    this.#handle = handle;
    this.mapNames = native.objectNames(handle, 0);
    this.programNames = native.objectNames(handle, 1);
  }

  get handle(): Handle {
    if (this.#closed)
      throw new BpfError(`object ${this.path} was used after close()`, {
        code: 'BPF_CLOSED',
        operation: 'object',
      });
    return this.#handle;
  }

  indexOf(kind: 'map' | 'program', name: string): number {
    const names = kind === 'map' ? this.mapNames : this.programNames;
    // libbpf prefixes data sections with the object's name: sample.rodata is .rodata.
    const index = names.findIndex((have) => have === name || (name.startsWith('.') && have.endsWith(name)));
    if (index >= 0) return index;
    throw new BpfError(`${this.path} has no ${kind} ${name}; it has ${names.join(', ') || 'none'}`, {
      code: kind === 'map' ? 'BPF_NO_SUCH_MAP' : 'BPF_NO_SUCH_PROGRAM',
      operation: `find ${kind} ${name}`,
    });
  }

  close(): void {
    this.#closed = true;
    this.native.objectClose(this.#handle);
  }
}

class LoadedObject implements BpfObject {
  readonly #file: ObjectFile;
  constructor(file: ObjectFile) {
    this.#file = file;
  }

  map(name: string): BpfMap {
    const { native, handle, path } = this.#file;
    const result = native.objectMap(handle, this.#file.indexOf('map', name));
    return new KernelMap(native, checked(`take map ${name} of ${path}`, result) as Handle);
  }

  program(name: string): BpfProgram {
    const { native, handle, path } = this.#file;
    const result = native.objectProgram(handle, this.#file.indexOf('program', name));
    return new KernelProgram(native, checked(`take program ${name} of ${path}`, result) as Handle, name);
  }

  close(): void {
    this.#file.close();
  }
}

class OpenObject implements BpfObjectSpec {
  readonly #file: ObjectFile;
  /** Kept until load, which reads their descriptors. */
  readonly #inner: BpfMap[] = [];

  constructor(file: ObjectFile) {
    this.#file = file;
  }

  get mapNames(): readonly string[] {
    return this.#file.mapNames;
  }

  get programNames(): readonly string[] {
    return this.#file.programNames;
  }

  setRodata(name: string, value: Uint8Array): void {
    const operation = `set constant ${name} of ${this.#file.path}`;
    const status = this.#file.native.objectSetRodata(this.#file.handle, name, value);
    if (status === -Errno.ENOENT)
      throw new BpfError(`${operation}: .rodata has no such variable`, {
        code: 'BPF_NO_SUCH_VARIABLE',
        operation,
      });
    if (status === -Errno.EMSGSIZE) throw argumentError(operation, `${value.length} bytes are not its size`);
    checked(operation, status);
  }

  setMaxEntries(mapName: string, entries: number): void {
    const { native, handle } = this.#file;
    const operation = `size map ${mapName}`;
    if (!Number.isInteger(entries) || entries < 1 || entries > 0xffffffff)
      throw argumentError(operation, `${entries} is not a number of entries`);
    checked(operation, native.objectSetMaxEntries(handle, this.#file.indexOf('map', mapName), entries));
  }

  reusePinned(mapName: string, path: string): void {
    const { native, handle } = this.#file;
    const index = this.#file.indexOf('map', mapName);
    const operation = `reuse the map pinned at ${path} as ${mapName}`;
    const pinned = new KernelMap(
      native,
      checked(operation, native.openPinned(path, ObjectKind.map)) as Handle,
    );
    try {
      const [type = 0, keySize = 0, valueSize = 0, maxEntries = 0, flags = 0] = native.objectMapShape(
        handle,
        index,
      );
      const { info } = pinned;
      requireShape(
        `the map pinned at ${path}`,
        { type, keySize, valueSize, maxEntries, flags },
        {
          type: info.type,
          keySize: info.keySize,
          valueSize: info.valueSize,
          maxEntries: info.maxEntries,
          flags: info.flags,
        },
      );
      checked(operation, native.objectReuseMap(handle, index, pinned.handle));
    } finally {
      pinned.close();
    }
  }

  setInnerMap(mapName: string, inner: BpfMap): void {
    const { native, handle } = this.#file;
    const index = this.#file.indexOf('map', mapName);
    checked(`shape map ${mapName}`, native.objectSetInner(handle, index, handleOf(inner, 'map')));
    this.#inner.push(inner);
  }

  setAutoload(programName: string, on: boolean): void {
    const { native, handle } = this.#file;
    const index = this.#file.indexOf('program', programName);
    checked(`choose program ${programName}`, native.objectSetAutoload(handle, index, on ? 1 : 0));
  }

  load(): BpfObject {
    for (const inner of this.#inner) handleOf(inner, 'map');
    const status = this.#file.native.objectLoad(this.#file.handle);
    const said = this.#file.native.takeLog();
    if (status < 0) throw loadError(this.#file.path, status, said);
    return new LoadedObject(this.#file);
  }

  close(): void {
    this.#file.close();
  }
}

function loadError(path: string, status: number, said: string): BpfError {
  const failure = readLoadFailure(said);
  const operation = `load ${path}`;
  const subject = failure.program === undefined ? '' : `program ${failure.program}: `;
  const refused = failure.program !== undefined && failure.log !== '';
  const message = `cannot load ${path}: ${subject}${failure.reason || errnoName(-status)}`;
  return new BpfError(message, {
    code: 'BPF_LOAD',
    errno: -status,
    operation,
    verifierLog: failure.log || undefined,
    // The verifier answers EACCES for a forbidden access of the program: a fault of ours, not of the privileges.
    ...(refused
      ? { exitCode: ExitCode.systemFailed, hint: 'the verifier refused the program; see its log' }
      : {}),
  });
}

/** Opens an object file for adjusting and loading. @throws BpfError with libbpf's words */
export function openObjectFile(native: Native, path: string): BpfObjectSpec {
  const result = native.objectOpen(path);
  if (typeof result !== 'number') return new OpenObject(new ObjectFile(native, path, result));
  const { reason } = readLoadFailure(native.takeLog());
  const errno = -result;
  throw new BpfError(`cannot open BPF object ${path}: ${reason || errnoName(errno)}`, {
    errno,
    operation: `open BPF object ${path}`,
    // libbpf numbers its own errors from 4000.
    ...(errno >= 4000 ? { code: 'BPF_OBJECT' } : {}),
  });
}
