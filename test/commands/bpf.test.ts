import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadBpf } from '../../bpf/addon/index.ts';
import { writeAgentRecord } from '../../src/base/agent-record.ts';
import { parseCidr, parseIp } from '../../src/base/ip.ts';
import { encodeIpcacheEntry, encodeIpcacheKey } from '../../src/datapath/address-codec.ts';
import { encodeEndpoint, NO_POLICIES } from '../../src/datapath/endpoint-codec.ts';
import { ct4KeyLayout, ctEntryLayout } from '../../src/datapath/map-layouts.ts';
import { type LoadedPrograms, loadPrograms } from '../../src/datapath/programs.ts';
import { ServiceTable } from '../../src/datapath/service-table.ts';
import { indexKey } from '../../src/datapath/struct-layout.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { cli, type Outcome } from './cli.ts';

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);

function fill({ maps }: LoadedPrograms): void {
  const endpoint = {
    id: 4711,
    identity: 300,
    ifindex: 9,
    ifname: 'lxc0',
    mac: MAC,
    hostMac: MAC,
    ipv4: parseIp('10.1.0.5'),
    ipv6: undefined,
  };
  const record = {
    endpoint,
    locked: false,
    enforcement: { ingress: true, egress: false },
    ...NO_POLICIES,
  };
  maps.endpoints.update(indexKey(1), encodeEndpoint(record));
  const entry = { prefix: parseCidr('10.1.0.5/32'), identity: 300, tunnelEndpoint: undefined };
  maps.ipcache.update(encodeIpcacheKey(entry.prefix), encodeIpcacheEntry(entry, 0));
  const flow = {
    address: [parseIp('10.1.0.5'), parseIp('10.2.0.9')],
    port: [40_000, 80],
    protocol: 6,
  } as const;
  const state = { seen: 1, lifetime: 1000, flags: 0, identity: [300, 400] } as const;
  maps.ct4.update(ct4KeyLayout.encode(flow), ctEntryLayout.encode(state));
  new ServiceTable(maps).upsert({
    ...{ id: 5, type: 'NodePort', affinitySeconds: 30 },
    frontend: { address: parseIp('::'), port: 30_080, protocol: 'UDP' },
    backends: ['fd00::2', 'fd00::3'].map((ip, i) => ({
      ...{ address: parseIp(ip), port: 53 },
      state: i === 0 ? 'active' : 'terminating',
    })),
  });
}

describe('bpf commands on live maps, with no agent', { skip: bpfOrSkip() }, () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'ciliate-k-state-'));
  const bpfDir = mkdtempSync(join(tmpdir(), 'ciliate-k-bpf-'));
  const bpf = loadBpf();
  let loaded: LoadedPrograms | undefined;

  before(() => {
    bpf.mountBpffs(bpfDir);
    const mapsFolder = join(bpfDir, 'maps');
    mkdirSync(mapsFolder);
    loaded = loadPrograms({ bpf, mapsFolder, conntrackEntries: 1024 });
    fill(loaded);
    // As an agent leaves it that died: no process has that id.
    writeAgentRecord(stateDir, {
      nodeName: 'n1',
      bpfDir,
      pid: 2 ** 22 + 1,
      startedAt: '2026-01-01T00:00:00Z',
    });
  });
  after(() => {
    loaded?.close();
    rmSync(join(bpfDir, 'maps'), { recursive: true, force: true });
    bpf.unmountBpffs(bpfDir);
    for (const folder of [bpfDir, stateDir]) rmSync(folder, { recursive: true, force: true });
  });

  const run = (words: string, ...more: readonly string[]): Promise<Outcome> =>
    cli([...words.split(' '), '--state-dir', stateDir, ...more]);

  async function shown(words: string): Promise<string> {
    const { stdout, stderr, code } = await run(words);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    return stdout;
  }

  it('find the pins by what the agent noted in its state folder', async () => {
    assert.match(
      await shown('bpf endpoint list'),
      /^10\.1\.0\.5:0 +id=4711 +sec_id=300 +.*ifindex=9 +mac=02:00:00:00:00:01/m,
    );
  });

  it('obey --bpf-dir before the note', async () => {
    const { stderr, code } = await run('bpf endpoint list', '--bpf-dir', '/nonexistent');
    assert.equal(code, 4);
    assert.match(stderr, /\/nonexistent\/maps/);
  });

  it('list the ipcache and the flows', async () => {
    assert.match(await shown('bpf ipcache list'), /^10\.1\.0\.5\/32 +.*300/m);
    assert.match(await shown('bpf ct list'), /^TCP .*10\.1\.0\.5:40000 -> 10\.2\.0\.9:80/m);
    const flow = JSON.parse((await shown('bpf ct list -o json')).trim()) as Readonly<Record<string, unknown>>;
    assert.deepEqual([flow.source, flow.sourcePort, flow.destinationIdentity], ['10.1.0.5', 40_000, 400]);
  });

  it('list services: slots with their backends, frontends, backends and what answers come from', async () => {
    const lines = async (words: string): Promise<readonly string[]> =>
      (await shown(words)).replace(/ +/g, ' ').replace(/ $/gm, '').trimEnd().split('\n');
    assert.deepEqual(await lines('bpf lb list'), [
      'SERVICE ADDRESS BACKEND ADDRESS (REVNAT_ID) (SLOT)',
      '[::]:30080/UDP (0) [::]:0 (5) (0) [NodePort, sessionAffinity, non-routable]',
      '[::]:30080/UDP (1) [fd00::2]:53/UDP (5) (1)',
    ]);
    assert.deepEqual(await lines('bpf lb list --frontends'), [
      'SERVICE ADDRESS BACKEND ID',
      '[::]:30080/UDP (0) 0 1[0] (5) [0x12 0x0]',
      '[::]:30080/UDP (1) 1 0[0] (5) [0x0 0x0]',
    ]);
    assert.deepEqual(await lines('bpf lb list --backends --no-headers'), [
      '1 [fd00::2]:53/UDP active',
      '2 [fd00::3]:53/UDP terminating',
    ]);
    assert.deepEqual(await lines('bpf lb list --backends --no-headers --compat 1.19'), [
      '1 UDP://fd00::2',
      '2 UDP://fd00::3',
    ]);
    assert.deepEqual(await lines('bpf lb list --revnat --no-headers'), ['5 [::]:30080']);
    assert.deepEqual(await lines('bpf lb list --no-headers --compat 2018'), [
      '[::]:30080 [::]:0 (5)',
      ' [fd00::2]:53 (5)',
    ]);
    const { services, backends } = JSON.parse(await shown('bpf lb list -o json')) as Record<
      string,
      unknown[]
    >;
    assert.deepEqual([services?.length, backends?.length], [2, 2]);
    assert.equal((await run('bpf lb list --backends --revnat')).code, 2);
  });

  it('list maps by name, and dump one by its types', async () => {
    const names = (await shown('bpf map list')).trim().split('\n');
    assert.ok(names.includes('ciliate_ct4_v1'), names.join(' '));
    assert.deepEqual(names, names.toSorted());
    const lines = (await shown('bpf map dump ciliate_ipcache_v1')).trim().split('\n');
    assert.equal(lines.length, 1);
    assert.equal((JSON.parse(lines[0] ?? '') as { value: { identity: number } }).value.identity, 300);
    assert.equal((await run('bpf map dump ciliate_ct5_v1')).code, 4);
  });

  it('count, and say which endpoint there is not', async () => {
    assert.match(await shown('bpf metrics list'), /^REASON/);
    const { stderr, code } = await run('bpf policy get 4712');
    assert.notEqual(code, 70, stderr);
    assert.match(stderr, /^Error: .*4712/m);
  });
});
