import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { BpfError, Btf, type BtfType, decodeBtf } from '../../../bpf/addon/index.ts';
import { compileBpf, scratchFolder } from './support.ts';

/** xorshift32: the same bytes on every machine for one seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function hasClang(): boolean {
  try {
    execFileSync('clang', ['--version'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    assert.ok(error instanceof Error);
    return false;
  }
}

describe('Btf', { skip: hasClang() ? false : 'needs clang' }, () => {
  const scratch = scratchFolder();
  let raw = Buffer.alloc(0);
  before(() => {
    const object = compileBpf('sample', scratch.path);
    const section = join(scratch.path, 'btf');
    execFileSync('llvm-objcopy', ['--dump-section', `.BTF=${section}`, object, '/dev/null']);
    raw = readFileSync(section);
  });
  after(() => scratch.remove());

  it('reads offsets, sizes, bit fields and typedefs as the compiler laid them out', () => {
    const btf = new Btf(raw);
    const id = btf.find('sample_value');
    assert.ok(id !== undefined);
    const type = btf.type(id);
    assert.ok(type.kind === 'struct');
    assert.equal(type.sizeBytes, 40);
    const member = (name: string) => type.members.find((candidate) => candidate.name === name);
    assert.deepEqual([member('high')?.offsetBits, member('high')?.bits], [196, 28]);
    const mac = member('mac')?.type;
    assert.ok(mac?.kind === 'array' && mac.length === 6 && mac.sizeBytes === 6);
    const key = btf.type(btf.find('sample_key') ?? 0);
    assert.ok(key.kind === 'struct');
    const port = key.members[1]?.type;
    assert.deepEqual([port?.kind, port?.kind === 'int' && port.typedef], ['int', '__be16']);
  });

  it('reads mutated and cut bytes without anything but a BpfError', () => {
    const seed = Number(process.env.SEED ?? 20261123);
    const random = randomOf(seed);
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(raw.subarray(0, random(4) === 0 ? random(raw.length) : raw.length));
      for (let i = 0; i < 1 + random(8) && bytes.length > 0; i++) bytes[random(bytes.length)] = random(256);
      try {
        const btf = new Btf(bytes);
        const id = btf.find('sample_value');
        if (id !== undefined) decodeBounded(btf.type(id));
      } catch (error) {
        assert.ok(error instanceof BpfError, `seed ${seed}, round ${round}: ${String(error)}`);
      }
    }
  });
});

function decodeBounded(type: BtfType): void {
  if (type.sizeBytes <= 4096) decodeBtf(type, Buffer.alloc(type.sizeBytes, 0xff));
}

describe('decodeBtf', () => {
  const int = (sizeBytes: number, signed = false): BtfType => ({
    kind: 'int',
    name: 'int',
    sizeBytes,
    signed,
  });

  it('keeps all 64 bits, and the sign', () => {
    assert.equal(decodeBtf(int(8), Buffer.alloc(8, 0xff)), 2n ** 64n - 1n);
    assert.equal(decodeBtf(int(8, true), Buffer.alloc(8, 0xff)), -1n);
    assert.equal(decodeBtf(int(4), Buffer.alloc(4, 0xff)), 0xffffffff);
    assert.equal(decodeBtf(int(2, true), Buffer.from([0xfe, 0xff])), -2);
  });

  it('gives text only for printable char arrays', () => {
    const char: BtfType = { kind: 'int', name: 'char', sizeBytes: 1, signed: true };
    const array: BtfType = { kind: 'array', element: char, length: 4, sizeBytes: 4 };
    assert.equal(decodeBtf(array, Buffer.from('ab\0\0')), 'ab');
    assert.equal(decodeBtf(array, Buffer.from('abcd')), 'abcd');
    assert.equal(decodeBtf(array, Buffer.from([1, 2, 3, 0])), '01020300');
  });
});
