import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { BpfMapType, loadBpf } from '../../bpf/addon/index.ts';
import { type Collector, planCollectors } from '../../bugtool/index.ts';
import { nodePaths } from '../../src/base/paths.ts';
import { compileBpf, loadSample, u32 } from '../bpf/addon/support.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { agentOf, pack, Scratch } from './support.ts';

const ANSWERS: Readonly<Record<string, string>> = {
  '/healthz': '{"cilium":{"state":"Ok"}}',
  '/config': '{}',
  '/endpoint': '[{"id":12},{"id":1281}]',
  '/map': '{"maps":[{"path":"/sys/fs/bpf/tc/globals/cilium_lxc"},{"path":"ipcache"}]}',
};
const health = {
  name: 'unix:///health.sock',
  healthz: () => Promise.resolve({ ok: true }),
  status: () => Promise.resolve({ nodes: [] }),
  metrics: () => Promise.resolve('# health\n'),
};
const dead = (name: string) => ({
  name,
  raw: () => Promise.reject(new Error('ECONNREFUSED')),
  healthz: () => Promise.reject(new Error('ECONNREFUSED')),
  status: () => Promise.reject(new Error('ECONNREFUSED')),
  metrics: () => Promise.reject(new Error('ECONNREFUSED')),
});
const noBpf = (): never => {
  throw new Error('no addon');
};
const apiPaths = (collectors: readonly Collector[]): string[] =>
  collectors.flatMap((collector) => (collector.kind === 'api' ? [collector.apiPath] : []));

describe('the plan', () => {
  const scratch = new Scratch();
  const paths = nodePaths(scratch.path, scratch.file('bpf'));
  after(() => scratch.remove());

  it('has every read path of the API, with the ids that the agent lists', async () => {
    const plan = await planCollectors({ paths, agent: agentOf(ANSWERS), health, loadBpf: noBpf });
    const api = apiPaths(plan);
    for (const path of [
      '/healthz',
      '/config',
      '/cluster/nodes',
      '/endpoint',
      '/identity',
      '/policy',
      '/ip',
      '/map',
      '/endpoint/12',
      '/endpoint/1281/log',
      '/endpoint/1281/labels',
      '/endpoint/12/config',
      '/endpoint/12/healthz',
      '/map/cilium_lxc',
      '/map/ipcache',
    ])
      assert.ok(api.includes(path), path);
    assert.ok(!api.includes('/policy/resolve'), 'it must be told what is asked');
    assert.ok(!api.some((path) => path.includes('{')));
    assert.equal(new Set(plan.map(({ path }) => path)).size, plan.length, 'no two write the same file');
  });

  it('asks a dead agent once and skips what it alone knows, with the reason', async () => {
    let asked = 0;
    const agent = {
      ...dead('unix:///a.sock'),
      raw: () => Promise.reject(new Error(`ECONNREFUSED ${++asked}`)),
    };
    const plan = await planCollectors({ paths, agent, health: dead('unix:///h.sock'), loadBpf: noBpf });
    assert.equal(asked, 1);
    const skipped = plan.filter((collector) => collector.kind === 'skipped');
    assert.ok(skipped.some(({ id }) => id === 'api/policy'));
    assert.ok(skipped.some(({ id }) => id === 'health/status'));
    assert.match(
      skipped.find(({ id }) => id === 'api/policy')?.reason ?? '',
      /does not answer: ECONNREFUSED/,
    );
    assert.ok(plan.some(({ id, kind }) => id === 'host/ip-addr' && kind === 'argv'));
  });

  it('takes logs and endpoint directories from disk', async () => {
    mkdirSync(`${paths.endpointsDir}/12`, { recursive: true });
    writeFileSync(`${paths.endpointsDir}/12/state.json`, '{}');
    mkdirSync(paths.logDir);
    writeFileSync(`${paths.logDir}/agent.log`, '{}\n');
    const plan = await planCollectors({ paths, agent: agentOf(ANSWERS), health, loadBpf: noBpf });
    const ids = plan.map(({ id }) => id);
    assert.ok(ids.includes('log/agent.log') && ids.includes('state/endpoint/12'));
  });

  it('is narrowed by id, folder and glob, and refuses what picks nothing', async () => {
    const options = { paths, agent: agentOf(ANSWERS), health, loadBpf: noBpf };
    const some = await planCollectors({
      ...options,
      include: ['host/ip-*', 'health'],
      exclude: ['host/ip-rule-4'],
    });
    const ids = some.map(({ id }) => id);
    assert.ok(ids.includes('host/ip-addr') && ids.includes('health/status'));
    assert.ok(!ids.includes('host/ip-rule-4') && !ids.includes('host/uname'));
    await assert.rejects(planCollectors({ ...options, include: ['hots'] }), {
      code: 'NO_COLLECTOR',
      exitCode: 2,
    });
  });
});

describe('BPF in the archive', { skip: rootOrSkip() }, () => {
  const bpf = loadBpf();
  const scratch = new Scratch();
  const bpfDir = scratch.file('bpffs');
  before(() => {
    mkdirSync(bpfDir);
    bpf.mountBpffs(bpfDir);
    mkdirSync(`${bpfDir}/maps`);
  });
  after(() => {
    bpf.unmountBpffs(bpfDir);
    scratch.remove();
  });

  it('has every pinned map decoded, and lists of maps, programs and links', async () => {
    const { object, inner } = loadSample(bpf, compileBpf('sample', scratch.path));
    const samples = object.map('samples');
    const value = Buffer.alloc(samples.info.valueSize);
    value.write('eth0', 8);
    samples.update(Buffer.from([7, 0, 0, 0, 0, 80, 6, 0]), value);
    samples.pin(`${bpfDir}/maps/samples`);
    object.map('counters').pin(`${bpfDir}/maps/counters`);
    object.map('events').pin(`${bpfDir}/maps/events`);
    inner.update(u32(0), u32(9));
    object.map('outer').updateInner(u32(2), inner);
    object.map('outer').pin(`${bpfDir}/maps/outer`);
    object.program('count').pin(`${bpfDir}/program`);
    const bare = bpf.createMap({
      type: BpfMapType.hash,
      name: 'bare',
      keySize: 4,
      valueSize: 4,
      maxEntries: 4,
    });
    bare.update(u32(1), u32(2));
    bare.pin(`${bpfDir}/maps/bare`);
    const plan = await planCollectors({
      paths: nodePaths(scratch.path, bpfDir),
      agent: agentOf(ANSWERS),
      health,
      loadBpf: () => bpf,
      include: ['bpf', 'map'],
    });
    const { files, manifest } = await pack(scratch, plan);
    assert.equal(
      manifest.complete,
      true,
      JSON.stringify(manifest.collectors.filter(({ outcome }) => outcome !== 'ok')),
    );
    const lines = (path: string): Record<string, unknown>[] =>
      String(files.get(path))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const [head, entry] = lines('map/maps/samples.ndjson');
    assert.equal((head?.map as { name: string } | undefined)?.name, 'samples');
    assert.deepEqual(entry?.key, { id: 7, port: 80, proto: 6, pad: 0 });
    assert.equal((entry?.value as { name: string } | undefined)?.name, 'eth0');
    assert.equal(
      (lines('map/maps/counters.ndjson')[1]?.value as unknown[] | undefined)?.length,
      bpf.possibleCpus(),
    );
    assert.deepEqual(lines('map/maps/bare.ndjson')[1], { key: '01000000', value: '02000000' });
    assert.equal(lines('map/maps/events.ndjson').length, 1);
    const nested = lines('map/maps/outer.ndjson')[2];
    assert.deepEqual(nested, { outer: '02000000', key: '00000000', value: '09000000' });
    assert.equal(files.has('map/program.ndjson'), false);
    assert.ok(lines('bpf/maps.ndjson').some(({ id }) => id === samples.info.id));
    assert.ok(lines('bpf/programs.ndjson').some(({ name }) => name === 'count'));
    assert.match(String(files.get('bpf/pins.txt')), /maps\/samples\n/);
    object.close();
  });
});
