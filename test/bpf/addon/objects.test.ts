import assert from 'node:assert/strict';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  BpfAttachType,
  BpfError,
  BpfLinkType,
  btfJson,
  decodeBtf,
  loadBpf,
} from '../../../bpf/addon/index.ts';
import { loadSockets } from '../../../src/base/sockets/index.ts';
import { NetnsLab } from '../../support/netns.ts';
import { rootOrSkip } from '../../support/privilege.ts';
import { codeOf, compileBpf, contextWithMark, loadSample, PACKET, scratchFolder, u32 } from './support.ts';

describe('BPF objects', { skip: rootOrSkip() }, () => {
  const bpf = loadBpf();
  const scratch = scratchFolder();
  const pins = join(scratch.path, 'bpffs');
  let sample = '';
  let refused = '';

  before(() => {
    sample = compileBpf('sample', scratch.path);
    refused = compileBpf('refused', scratch.path);
    mkdirSync(pins);
    assert.equal(bpf.mountBpffs(pins), true);
    assert.equal(bpf.mountBpffs(pins), false, 'a second mount is not made');
  });
  after(() => {
    bpf.unmountBpffs(pins);
    scratch.remove();
  });

  it('names what is in the file', () => {
    const spec = bpf.openObject(sample);
    assert.deepEqual([...spec.programNames].sort(), ['constant', 'count', 'emit', 'inner', 'pass']);
    for (const name of ['samples', 'counters', 'prefixes', 'outer', 'events'])
      assert.ok(spec.mapNames.includes(name), name);
    spec.close();
    assert.equal(
      codeOf(() => spec.load()),
      'BPF_CLOSED',
    );
  });

  it('sets constants before load, and only those that are there in their size', () => {
    const spec = bpf.openObject(sample);
    const inner = bpf.createMap({ type: 2, name: 'inner', keySize: 4, valueSize: 4, maxEntries: 1 });
    spec.setInnerMap('outer', inner);
    spec.setRodata('answer', u32(42));
    spec.setRodata('wide', u32(3, 0));
    assert.equal(
      codeOf(() => spec.setRodata('nothing', u32(1))),
      'BPF_NO_SUCH_VARIABLE',
    );
    assert.equal(
      codeOf(() => spec.setRodata('answer', Buffer.alloc(8))),
      'BPF_ARGUMENT',
    );
    const object = spec.load();
    assert.equal(object.program('constant').testRun({ data: PACKET }).retval, 42);
    assert.equal(object.program('count').testRun({ data: PACKET }).retval, 7);
    assert.equal(
      codeOf(() => spec.setRodata('answer', u32(1))),
      'BPF_EBUSY',
    );
    assert.equal(
      codeOf(() => object.map('nothing')),
      'BPF_NO_SUCH_MAP',
    );
    assert.equal(
      codeOf(() => object.program('nothing')),
      'BPF_NO_SUCH_PROGRAM',
    );
    object.close();
  });

  it('runs a program with context, repeats it, and hands both out', () => {
    const { object } = loadSample(bpf, sample);
    const program = object.program('count');
    const counters = object.map('counters');
    object.close();
    const result = program.testRun({ data: PACKET, ctx: contextWithMark(5) });
    assert.equal(result.ctx?.readUInt32LE(8), 6);
    assert.equal(result.data.length, PACKET.length);
    const perCpu = counters.lookup(u32(0)) ?? Buffer.alloc(0);
    const sum = Array.from({ length: bpf.possibleCpus() }, (_, cpu) => perCpu.readUInt32LE(8 * cpu)).reduce(
      (a, b) => a + b,
      0,
    );
    assert.equal(sum, 1);
    const repeated = program.testRun({ data: PACKET, ctx: contextWithMark(5), repeat: 100 });
    assert.equal(repeated.ctx?.readUInt32LE(8), 105, 'the context goes from one repetition to the next');
    assert.equal(
      codeOf(() => program.testRun({ data: Buffer.alloc(3) })),
      'BPF_EINVAL',
    );
    assert.equal(
      codeOf(() => program.testRun({ data: PACKET, repeat: 0 })),
      'BPF_ARGUMENT',
    );
    assert.equal(program.info.name, 'count');
    assert.ok(program.info.mapIds.includes(counters.info.id));
    program.close();
    assert.equal(
      codeOf(() => program.info),
      'BPF_CLOSED',
    );
  });

  it('stores inner maps that the program then reads', () => {
    const { object, inner } = loadSample(bpf, sample);
    const outer = object.map('outer');
    const run = (slot: number): number =>
      object.program('inner').testRun({ data: PACKET, ctx: contextWithMark(slot) }).retval | 0;
    assert.equal(run(2), -1);
    inner.update(u32(0), u32(99));
    outer.updateInner(u32(2), inner);
    assert.equal(run(2), 99);
    assert.deepEqual(outer.lookup(u32(2)), u32(inner.info.id));
    const wrong = bpf.createMap({ type: 1, name: 'wrong', keySize: 8, valueSize: 4, maxEntries: 1 });
    assert.equal(
      codeOf(() => outer.updateInner(u32(1), wrong)),
      'BPF_EINVAL',
    );
    assert.equal(
      codeOf(() => object.map('samples').updateInner(Buffer.alloc(8), inner)),
      'BPF_ARGUMENT',
    );
    object.close();
  });

  it('uses a pinned map again, and refuses one of another shape by naming what differs', () => {
    const { object, inner } = loadSample(bpf, sample);
    const path = join(pins, 'samples');
    const map = object.map('samples');
    map.pin(path);
    assert.equal(
      codeOf(() => map.pin(path)),
      'BPF_EEXIST',
    );
    const spec = bpf.openObject(sample);
    spec.setInnerMap('outer', inner);
    spec.reusePinned('samples', path);
    assert.equal(spec.load().map('samples').info.id, map.info.id);
    const other = bpf.openObject(sample);
    other.setMaxEntries('samples', 2048);
    assert.throws(
      () => other.reusePinned('samples', path),
      (error: unknown) =>
        error instanceof BpfError &&
        error.code === 'BPF_MAP_MISMATCH' &&
        error.message.includes('maxEntries is 1024, wanted 2048') &&
        error.hint !== undefined,
    );
    assert.equal(
      codeOf(() => other.reusePinned('samples', join(pins, 'nothing'))),
      'BPF_ENOENT',
    );
    assert.equal(bpf.openPinnedMap(join(pins, 'nothing')), undefined);
    assert.equal(
      codeOf(() => bpf.openPinnedProgram(path)),
      'BPF_WRONG_KIND',
    );
  });

  it('decodes any map with BTF', () => {
    const { object } = loadSample(bpf, sample);
    const map = object.map('samples');
    const value = Buffer.alloc(map.info.valueSize);
    value.writeBigUInt64LE(2n ** 60n, 0);
    value.write('eth0', 8);
    value.set([0, 1, 2, 3, 4, 255], 16);
    value.writeInt16LE(-5, 22);
    value.writeUInt32LE((0xabcde << 4) | 3, 24);
    value.writeUInt32LE(2, 28);
    value.set([10, 0, 0, 1], 32);
    const types = bpf.mapTypes(map);
    assert.ok(types);
    assert.deepEqual(decodeBtf(types.key, Buffer.from([7, 0, 0, 0, 0x1f, 0x90, 6, 0])), {
      id: 7,
      port: 8080,
      proto: 6,
      pad: 0,
    });
    assert.deepEqual(decodeBtf(types.value, value), {
      packets: 2n ** 60n,
      name: 'eth0',
      mac: '0001020304ff',
      delta: -5,
      low: 3,
      high: 0xabcde,
      colour: 'GREEN',
      ip4: 0x0a000001,
      raw: '0a000001',
    });
    assert.match(btfJson(decodeBtf(types.value, value)), /"packets":"1152921504606846976"/);
    assert.equal(bpf.objectType(sample, 'sample_value')?.sizeBytes, map.info.valueSize);
    assert.equal(bpf.objectType(sample, 'nothing'), undefined);
  });

  it('says what the verifier said, cut to the program and the end of its log', () => {
    assert.throws(
      () => bpf.openObject(refused).load(),
      (error: unknown) => {
        assert.ok(error instanceof BpfError);
        assert.equal(error.code, 'BPF_LOAD');
        assert.equal(error.exitCode, 4);
        assert.match(error.message, /program reads_unchecked: R\d offset is outside of the packet/);
        assert.match(error.verifierLog ?? '', /invalid access to packet/);
        assert.ok((error.verifierLog ?? '').split('\n').length <= 40);
        return true;
      },
    );
  });

  it('says what is wrong with a file that is no BPF object', () => {
    assert.throws(() => bpf.openObject('/nowhere/x.o'), { code: 'BPF_ENOENT' });
    assert.throws(() => bpf.openObject('/etc/hostname'), { code: 'BPF_OBJECT' });
    assert.throws(() => bpf.openObject('a\0b'), TypeError);
    assert.throws(() => bpf.objectType('/etc/hostname', 'x'), BpfError);
  });
});

describe('tcx links', { skip: rootOrSkip() }, () => {
  const bpf = loadBpf();
  const scratch = scratchFolder();
  const lab = new NetnsLab('tA');
  let sample = '';
  let netns = '';
  let ifindex = 0;

  before(async () => {
    sample = compileBpf('sample', scratch.path);
    const name = await lab.namespace('tcx');
    await lab.veth({ name: 'v0', netns: name }, { name: 'v1', netns: name });
    netns = lab.path(name);
    ifindex = loadSockets().interfaceIndex('v0', netns);
    mkdirSync(join(scratch.path, 'fs'));
    bpf.mountBpffs(join(scratch.path, 'fs'));
  });
  after(async () => {
    bpf.unmountBpffs(join(scratch.path, 'fs'));
    scratch.remove();
    await lab.cleanUp();
  });

  it('attaches inside another namespace, swaps atomically, refuses a swap of another program, detaches', () => {
    const { object } = loadSample(bpf, sample);
    const [first, second] = [object.program('constant'), object.program('count')];
    const { tcxIngress, tcxEgress } = BpfAttachType;
    const link = first.attach({ attachType: tcxIngress, ifindex, netns });
    assert.deepEqual(bpf.queryTcx(ifindex, tcxIngress, netns), [first.info.id]);
    assert.deepEqual(bpf.queryTcx(ifindex, tcxEgress, netns), []);
    assert.equal(link.info.ifindex, ifindex);
    assert.equal(link.info.attachType, tcxIngress);
    assert.throws(() => link.update(second, second), { code: 'BPF_EPERM', exitCode: 4 });
    link.update(second, first);
    assert.equal(link.info.progId, second.info.id);
    const pin = join(scratch.path, 'fs', 'link');
    link.pin(pin);
    link.close();
    assert.equal(
      codeOf(() => link.info),
      'BPF_CLOSED',
    );
    assert.deepEqual(bpf.queryTcx(ifindex, tcxIngress, netns), [second.info.id], 'the pin holds it');
    const again = bpf.openPinnedLink(pin);
    assert.ok(again);
    assert.ok(bpf.listIds('link').includes(again.info.id));
    assert.equal(bpf.linkById(again.info.id)?.info.progId, second.info.id);
    again.detach();
    assert.deepEqual(bpf.queryTcx(ifindex, tcxIngress, netns), []);
    again.close();
  });

  it('attaches both directions at once while the event loop goes on and the program is closed', async () => {
    const { object } = loadSample(bpf, sample);
    const program = object.program('constant');
    const { id } = program.info;
    const { tcxIngress, tcxEgress } = BpfAttachType;
    let turns = 0;
    const beat = setInterval(() => turns++, 0);
    const attached = Promise.all(
      [tcxIngress, tcxEgress].map((attachType) => program.attachAsync({ attachType, ifindex, netns })),
    );
    program.close();
    const links = await attached;
    clearInterval(beat);
    assert.ok(turns > 0, 'the event loop stood still');
    for (const attachType of [tcxIngress, tcxEgress]) {
      assert.deepEqual(bpf.queryTcx(ifindex, attachType, netns), [id]);
    }
    for (const link of links) {
      link.detach();
      link.close();
    }
  });

  it('says which interface refused an attachment that nobody waited for', async () => {
    const { object } = loadSample(bpf, sample);
    const program = object.program('constant');
    const { tcxIngress } = BpfAttachType;
    await assert.rejects(
      program.attachAsync({ attachType: tcxIngress, ifindex: 4711, netns }),
      /interface 4711 of .*ENODEV/,
    );
    await assert.rejects(program.attachAsync({ attachType: tcxIngress }), { code: 'BPF_ARGUMENT' });
    program.close();
    await assert.rejects(program.attachAsync({ attachType: tcxIngress, ifindex, netns }), {
      code: 'BPF_CLOSED',
    });
  });

  it('says which interface and namespace refused', () => {
    const { object } = loadSample(bpf, sample);
    const program = object.program('constant');
    const { tcxIngress } = BpfAttachType;
    assert.throws(
      () => program.attach({ attachType: tcxIngress, ifindex: 4711, netns }),
      /interface 4711 of .*ENODEV/,
    );
    assert.equal(
      codeOf(() => program.attach({ attachType: tcxIngress, ifindex: 1, netns: '/run/netns/none' })),
      'BPF_ENOENT',
    );
    assert.equal(
      codeOf(() => program.attach({ attachType: tcxIngress })),
      'BPF_ARGUMENT',
    );
  });
});

function cgroup2Mount(): string | undefined {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((text) => text.includes(' - cgroup2 '));
  return line?.split(' ')[4];
}

describe('cgroup links', {
  skip: rootOrSkip() || (cgroup2Mount() === undefined && 'needs a mounted cgroup2'),
}, () => {
  it('attach to a cgroup of ours and end with their last descriptor', () => {
    const bpf = loadBpf();
    const scratch = scratchFolder();
    const cgroup = mkdtempSync(join(cgroup2Mount() ?? '', 'tA-'));
    const cgroupFd = openSync(cgroup, 'r');
    try {
      const { object } = loadSample(bpf, compileBpf('sample', scratch.path));
      const attachType = BpfAttachType.cgroupInetEgress;
      const link = object.program('pass').attach({ attachType, cgroupFd });
      const { id, type } = link.info;
      assert.equal(type, BpfLinkType.cgroup);
      assert.equal(link.info.attachType, attachType);
      link.close();
      assert.equal(bpf.linkById(id), undefined);
      assert.equal(
        codeOf(() => object.program('constant').attach({ attachType, cgroupFd })),
        'BPF_EINVAL',
      );
    } finally {
      closeSync(cgroupFd);
      rmdirSync(cgroup);
      scratch.remove();
    }
  });
});
