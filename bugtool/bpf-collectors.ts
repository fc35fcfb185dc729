import { readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Bpf, BpfMap, BtfType } from '../bpf/addon/index.ts';
import { BpfAttachType, BpfMapType, btfJson, decodeBtf } from '../bpf/addon/index.ts';
import { errorText } from '../src/base/errors.ts';
import { run } from '../src/base/run.ts';
import type { CallCollector, Collector, SkippedCollector } from './types.ts';

const MIB = 1 << 20;
/** Entries that are decoded before the event loop turns. */
const ENTRIES_PER_TURN = 2048;
const PER_CPU: readonly number[] = [BpfMapType.perCpuHash, BpfMapType.perCpuArray, BpfMapType.lruPerCpuHash];
const MAPS_OF_MAPS: readonly number[] = [BpfMapType.arrayOfMaps, BpfMapType.hashOfMaps];
/** Where a Cilium agent pins its maps. */
const CILIUM_MAPS = '/sys/fs/bpf/tc/globals';

const lines = (objects: readonly unknown[]): string =>
  objects.map((object) => `${btfJson(object)}\n`).join('');

function list(id: string, what: string, call: CallCollector['call']): CallCollector {
  return { kind: 'call', id: `bpf/${id}`, path: `bpf/${id}.ndjson`, what, call };
}

/** One JSON line an object; one that vanishes between its listing and its opening is no failure. */
function describeAll<T extends { readonly info: unknown; close(): void }>(
  bpf: Bpf,
  kind: 'map' | 'program' | 'link',
  open: (id: number) => T | undefined,
): CallCollector['call'] {
  return function* () {
    for (const id of bpf.listIds(kind)) {
      const object = open(id);
      if (object === undefined) continue;
      try {
        yield lines([object.info]);
      } finally {
        object.close();
      }
    }
  };
}

interface Interface {
  readonly ifindex: number;
  readonly ifname: string;
}

/** From the caller's namespace; /sys may show another one. */
async function interfaces(): Promise<readonly Interface[]> {
  const { stdout } = await run(['ip', '-json', 'link', 'show'], { maxBytes: 16 * MIB });
  return JSON.parse(stdout) as Interface[];
}

async function* tcxPrograms(bpf: Bpf): AsyncGenerator<string> {
  for (const { ifindex, ifname } of await interfaces()) {
    const ingress = bpf.queryTcx(ifindex, BpfAttachType.tcxIngress);
    const egress = bpf.queryTcx(ifindex, BpfAttachType.tcxEgress);
    if (ingress.length + egress.length > 0) yield lines([{ ifindex, ifname, ingress, egress }]);
  }
}

function decoded(type: BtfType | undefined, bytes: Buffer): unknown {
  return type === undefined ? bytes.toString('hex') : decodeBtf(type, bytes);
}

function decodedValue(map: BpfMap, type: BtfType | undefined, bytes: Buffer): unknown {
  if (!PER_CPU.includes(map.info.type)) return decoded(type, bytes);
  const each = Math.ceil(map.info.valueSize / 8) * 8;
  return Array.from({ length: bytes.length / each }, (_, cpu) =>
    decoded(type, bytes.subarray(cpu * each, cpu * each + map.info.valueSize)),
  );
}

/** A line an entry: `{"key":…,"value":…}`, hexadecimal where the map has no BTF; `tag` goes before both. */
function* entryLines(bpf: Bpf, map: BpfMap, tag: Readonly<Record<string, unknown>>): Generator<string> {
  const types = bpf.mapTypes(map);
  const { keySize } = map.info;
  const stride = map.valueStride;
  for (const { keys, values, count } of map.batches(ENTRIES_PER_TURN)) {
    let text = '';
    for (let i = 0; i < count; i++) {
      const key = decoded(types?.key, keys.subarray(i * keySize, (i + 1) * keySize));
      const value = decodedValue(map, types?.value, values.subarray(i * stride, (i + 1) * stride));
      text += `${btfJson({ ...tag, key, value })}\n`;
    }
    yield text;
  }
}

/** The entries of every map that a map of maps holds; `outer` is the key there. */
function* innerLines(bpf: Bpf, map: BpfMap): Generator<string> {
  for (const { keys, values, count } of map.batches(ENTRIES_PER_TURN)) {
    for (let i = 0; i < count; i++) {
      const inner = bpf.mapById(values.readUInt32LE(i * 4));
      if (inner === undefined) continue;
      const outer = keys.toString('hex', i * map.info.keySize, (i + 1) * map.info.keySize);
      try {
        yield lines([{ outer, map: inner.info }]);
        yield* entryLines(bpf, inner, { outer });
      } finally {
        inner.close();
      }
    }
  }
}

/** First what the map is, then its entries. */
function* dumpMap(bpf: Bpf, path: string): Generator<string> {
  const map = bpf.openPinnedMap(path);
  if (map === undefined) throw new Error(`nothing is pinned at ${path} any more`);
  try {
    yield lines([{ map: map.info, pinned: path }]);
    if (map.info.type === BpfMapType.ringbuf) return;
    if (MAPS_OF_MAPS.includes(map.info.type)) yield* innerLines(bpf, map);
    else yield* entryLines(bpf, map, {});
  } finally {
    map.close();
  }
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? filesBelow(path) : [path];
    });
}

function isMap(bpf: Bpf, path: string): boolean {
  try {
    const map = bpf.openPinnedMap(path);
    map?.close();
    return map !== undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'BPF_WRONG_KIND') return false;
    // Listed all the same: its collector fails with the reason.
    return true;
  }
}

function pinnedMaps(bpf: Bpf, root: string, prefix: string): Collector[] {
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) return [];
  return filesBelow(root)
    .filter((path) => isMap(bpf, path))
    .map((path) => {
      const name = relative(root, path);
      const id = `${prefix}/${name}`;
      const what = `entries of ${path}`;
      return {
        kind: 'call',
        id,
        path: `${id}.ndjson`,
        what,
        capBytes: 64 * MIB,
        call: () => dumpMap(bpf, path),
      };
    });
}

function skipped(id: string, reason: string): SkippedCollector {
  return { kind: 'skipped', id, path: `${id}.ndjson`, what: 'BPF objects of the kernel', reason };
}

/** Programs, maps, links, hooks, and the entries of every map pinned below `bpfDir`. */
export function bpfCollectors(load: () => Bpf, bpfDir: string): Collector[] {
  let bpf: Bpf;
  try {
    bpf = load();
  } catch (error) {
    return [skipped('bpf/all', errorText(error))];
  }
  const lists: Collector[] = [
    list(
      'programs',
      'every program of the kernel',
      describeAll(bpf, 'program', (id) => bpf.programById(id)),
    ),
    list(
      'maps',
      'every map of the kernel',
      describeAll(bpf, 'map', (id) => bpf.mapById(id)),
    ),
    list(
      'links',
      'every link of the kernel',
      describeAll(bpf, 'link', (id) => bpf.linkById(id)),
    ),
    list('tcx', 'programs on the tcx hooks of every interface', () => tcxPrograms(bpf)),
    {
      kind: 'call',
      id: 'bpf/pins',
      path: 'bpf/pins.txt',
      what: `files below ${bpfDir}`,
      // Without a datapath there are none.
      optional: true,
      call: () => filesBelow(bpfDir).map((path) => `${path}\n`),
    },
  ];
  try {
    const maps = [...pinnedMaps(bpf, bpfDir, 'map'), ...pinnedMaps(bpf, CILIUM_MAPS, 'cilium-map')];
    return [...lists, ...maps];
  } catch (error) {
    return [...lists, { ...skipped('map/all', errorText(error)), what: `maps pinned below ${bpfDir}` }];
  }
}
