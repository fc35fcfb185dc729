import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BtfType, decodeBtf, loadBpf } from '../../bpf/addon/index.ts';
import type { DecodedMapEntry } from '../../src/api/source.ts';
import { closestName } from '../../src/base/did-you-mean.ts';
import { errnoOf, NotPermittedError, SystemError } from '../../src/base/errors.ts';

/**
 * Names of the maps pinned under `<bpfDir>/maps`, sorted.
 * @throws SystemError code DATAPATH_MISSING · NotPermittedError code MAPS_NOT_PERMITTED
 */
export async function pinnedMapNames(bpfDir: string): Promise<readonly string[]> {
  const folder = join(bpfDir, 'maps');
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === 'EACCES' || errno === 'EPERM')
      throw new NotPermittedError(`not permitted to read the maps in ${bpfDir}`, {
        code: 'MAPS_NOT_PERMITTED',
        hint: 'run as root (reading BPF maps needs CAP_BPF and access to the bpffs)',
        cause,
      });
    const missing = errno === 'ENOENT';
    const what = missing ? 'no maps of a datapath are pinned in' : 'cannot list the maps pinned in';
    throw new SystemError(`${what} ${folder}`, {
      code: 'DATAPATH_MISSING',
      hint: 'is the agent running with --datapath bpf, and is this its --bpf-dir?',
      cause: missing ? undefined : cause,
    });
  }
}

function recordOf(type: BtfType | undefined, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const value = type === undefined ? Buffer.from(bytes).toString('hex') : decodeBtf(type, bytes);
  return typeof value === 'object' && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : { value };
}

/**
 * Entries of a pinned map, decoded by its BTF; hexadecimal where it has none. Of a per-CPU map the value is a list.
 * @throws SystemError code MAP_MISSING
 */
export async function* pinnedMapEntries(bpfDir: string, name: string): AsyncGenerator<DecodedMapEntry> {
  const map = loadBpf().openPinnedMap(join(bpfDir, 'maps', name));
  if (map === undefined) {
    const close = closestName(name, await pinnedMapNames(bpfDir));
    throw new SystemError(`no map ${JSON.stringify(name)} is pinned in ${join(bpfDir, 'maps')}`, {
      code: 'MAP_MISSING',
      hint: close === undefined ? 'see `ciliate bpf map list`' : `did you mean ${close}?`,
    });
  }
  const { keySize, valueSize } = map.info;
  const stride = map.valueStride;
  const cpuStride = Math.ceil(valueSize / 8) * 8;
  try {
    const types = loadBpf().mapTypes(map);
    for (const { keys, values, count } of map.batches()) {
      for (let i = 0; i < count; i++) {
        const value = values.subarray(i * stride, (i + 1) * stride);
        const perCpu = Array.from({ length: stride / cpuStride }, (_, cpu) =>
          recordOf(types?.value, value.subarray(cpu * cpuStride, cpu * cpuStride + valueSize)),
        );
        yield {
          key: recordOf(types?.key, keys.subarray(i * keySize, (i + 1) * keySize)),
          value: stride > cpuStride ? { cpus: perCpu } : recordOf(types?.value, value),
        };
      }
    }
  } finally {
    map.close();
  }
}
