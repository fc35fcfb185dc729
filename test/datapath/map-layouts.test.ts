import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { type BtfType, loadBpf } from '../../bpf/addon/index.ts';
import { buildAsset } from '../../src/base/assets.ts';
import { sharedLayouts } from '../../src/datapath/map-layouts.ts';

const object = buildAsset('ciliate.bpf.o');
const skip = existsSync(object) ? false : 'the BPF object is not built';

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function sizeOf(type: BtfType): number {
  return type.sizeBytes;
}

describe('structs shared by C and TypeScript', { skip }, () => {
  for (const layout of sharedLayouts) {
    it(`struct ${layout.name} has the size, offsets and widths of the object's BTF`, () => {
      const type = loadBpf().objectType(object, layout.name);
      assert.ok(type?.kind === 'struct', `struct ${layout.name} is in the object's BTF`);
      assert.equal(layout.bytes, type.sizeBytes, 'size');
      const members = new Map(type.members.map((member) => [member.name, member]));
      for (const [field, [offset, codec]] of Object.entries(layout.fields)) {
        const member = members.get(snake(field));
        assert.ok(member, `${layout.name}.${snake(field)} exists`);
        assert.equal(offset, member.offsetBits / 8, `offset of ${layout.name}.${snake(field)}`);
        assert.equal(codec.bytes, sizeOf(member.type), `width of ${layout.name}.${snake(field)}`);
      }
    });
  }
});
