import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Bpf, BpfMap, BpfObject } from '../../../bpf/addon/index.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const MULTIARCH = `${arch() === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;

/** Compiles `<name>.bpf.c` of this folder into `folder`. @returns the object's path */
export function compileBpf(name: string, folder: string): string {
  const object = join(folder, `${name}.o`);
  const include = `/usr/include/${MULTIARCH}`;
  const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-I', include];
  execFileSync('clang', [...flags, '-c', join(HERE, `${name}.bpf.c`), '-o', object]);
  return object;
}

/** A folder of one test file, removed by `remove`. */
export function scratchFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'ciliate-addon-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value, 4 * i);
  return bytes;
}

/** A `struct __sk_buff` image with only `mark` set. */
export function contextWithMark(mark: number): Buffer {
  const context = Buffer.alloc(192);
  context.writeUInt32LE(mark, 8);
  return context;
}

export const PACKET = Buffer.alloc(64);

/** Loads the sample object; `inner` shapes its map of maps. */
export function loadSample(bpf: Bpf, path: string): { object: BpfObject; inner: BpfMap } {
  const spec = bpf.openObject(path);
  const inner = bpf.createMap({ type: 2, name: 'inner', keySize: 4, valueSize: 4, maxEntries: 1 });
  spec.setInnerMap('outer', inner);
  return { object: spec.load(), inner };
}

/** All entries of a map as `key hex -> value hex`; a key that comes twice is an error of the walk. */
export function entriesOf(map: BpfMap, entriesPerBatch?: number): Map<string, string> {
  const entries = new Map<string, string>();
  for (const { keys, values, count } of map.batches(entriesPerBatch)) {
    for (let i = 0; i < count; i++) {
      const key = keys.toString('hex', i * map.info.keySize, (i + 1) * map.info.keySize);
      if (entries.has(key)) throw new Error(`key ${key} came twice`);
      entries.set(key, values.toString('hex', i * map.valueStride, (i + 1) * map.valueStride));
    }
  }
  return entries;
}

/** The same by batches that another thread reads. */
export async function entriesOfAsync(map: BpfMap, entriesPerBatch?: number): Promise<Map<string, string>> {
  const entries = new Map<string, string>();
  for await (const { keys, values, count } of map.batchesAsync(entriesPerBatch)) {
    for (let i = 0; i < count; i++) {
      const key = keys.toString('hex', i * map.info.keySize, (i + 1) * map.info.keySize);
      if (entries.has(key)) throw new Error(`key ${key} came twice`);
      entries.set(key, values.toString('hex', i * map.valueStride, (i + 1) * map.valueStride));
    }
  }
  return entries;
}

export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
  return 'no error';
}
