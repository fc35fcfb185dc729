import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ClusterNodeStatus, HealthStatusResponse } from '../../src/api/schema.ts';
import { SourceError } from '../../src/api/source-error.ts';
import { packageRoot } from '../../src/base/assets.ts';
import { errorText, UsageError } from '../../src/base/errors.ts';
import { type Logger, silentLog } from '../../src/base/log.ts';
import { createAgentNodes, createStaticNodes, parseNodeList } from '../../src/health/index.ts';
import { until } from '../support/until.ts';
import { element } from './fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

describe("the agent's node list", () => {
  function provider(answers: (ClusterNodeStatus | Error)[], log: Logger = silentLog) {
    const clock = new VirtualClock();
    const asked: number[] = [];
    const nodes = createAgentNodes(
      { pollMs: 1000 },
      {
        clock,
        log,
        nodeChanges: async (id) => {
          asked.push(id);
          const answer = answers.shift() ?? { 'client-id': id, 'nodes-added': [], 'nodes-removed': [] };
          if (answer instanceof Error) throw answer;
          return answer;
        },
      },
    );
    const names = (): string[] => nodes.view().nodes.map(({ name }) => name);
    return { clock, asked, nodes, names };
  }
  const [a, b, c] = [element('a', '10.0.0.1'), element('b', '10.0.0.2'), element('c', '10.0.0.3')];

  it('keeps a node whose address is none, and probes nothing for it', async () => {
    const bad = ['not-an-ip', '10.0.0.300', '10.0.0.1; x', 'fe80::1%eth0', '10.0.0.1\r\nhost: x'];
    const { nodes } = provider([
      {
        'client-id': 7,
        'nodes-added': [a, ...bad.map((ip, i) => element(`bad${i}`, ip))],
        'nodes-removed': [],
      },
    ]);
    await nodes.start();
    assert.deepEqual(
      nodes.view().nodes.map(({ targets }) => targets.length > 0),
      [true, ...bad.map(() => false)],
    );
  });

  it('starts with all nodes and applies differences', async () => {
    const { clock, asked, nodes, names } = provider([
      { self: 'a', 'client-id': 7, 'nodes-added': [a, b], 'nodes-removed': null },
      { self: 'a', 'client-id': 7, 'nodes-added': [c], 'nodes-removed': [b] },
    ]);
    await nodes.start();
    assert.deepEqual(names(), ['a', 'b']);
    assert.equal(nodes.view().self, 'a');
    await clock.pass(1500);
    assert.deepEqual(names(), ['a', 'c']);
    assert.deepEqual(asked, [0, 7]);
    await nodes.stop();
  });

  it('keeps the last view while the agent is away, says since when, and takes a new agent whole', async () => {
    const { clock, nodes, names } = provider([
      { 'client-id': 7, 'nodes-added': [a, b] },
      new Error('gone'),
      new Error('gone'),
      { 'client-id': 8, 'nodes-added': [c] },
    ]);
    await nodes.start();
    await clock.pass(2500);
    assert.deepEqual(names(), ['a', 'b']);
    assert.deepEqual(nodes.view().stale, { sinceMs: clock.wallMs() - 1500, reason: 'gone' });
    await clock.pass(1000);
    assert.deepEqual(names(), ['c']);
    assert.equal(nodes.view().stale, undefined);
    await nodes.stop();
  });

  it('keeps the last view over lists that are none, and says once that it began and once that it ended', async () => {
    const lists = ['x', 7, {}, [null], ['a'], [{ name: 'e', 'secondary-addresses': 3 }]];
    const lies = lists.map(
      (list) => ({ 'client-id': 7, 'nodes-added': list }) as unknown as ClusterNodeStatus,
    );
    const said: string[] = [];
    const note = (_fields: object, message: string): void => void said.push(message);
    const log = { ...silentLog, info: note, warn: note };
    const { clock, nodes, names } = provider(
      [{ 'client-id': 7, 'nodes-added': [a] }, ...lies, { 'client-id': 8, 'nodes-added': [b] }],
      log as unknown as Logger,
    );
    await nodes.start();
    await clock.pass(1000 * lies.length + 500);
    assert.deepEqual(names(), ['a']);
    assert.ok(nodes.view().stale);
    assert.deepEqual(said, ['no node list from the agent: the last one stays']);
    await clock.pass(1000);
    assert.deepEqual(names(), ['b']);
    assert.match(said[1] ?? '', /answers again/);
    assert.equal(said.length, 2);
    await nodes.stop();
  });

  it('takes what a real agent of Cilium 1.19 answered: the addresses that its own health probes, and no others', async () => {
    const fixture = join(packageRoot(), 'test/fixtures/cilium-1.19-agent');
    const read = (name: string): unknown => JSON.parse(readFileSync(join(fixture, name), 'utf8'));
    const { nodes } = provider([read('api-cluster_nodes.json') as ClusterNodeStatus]);
    await nodes.start();
    const { nodes: probed, local } = read('healthapi-status.json') as HealthStatusResponse;
    const theirs = (probed ?? []).map((node) => [
      node.name,
      [node.host, node['health-endpoint']].flatMap((of) =>
        [of?.['primary-address'], ...(of?.['secondary-addresses'] ?? [])].map((path) => path?.ip),
      ),
    ]);
    const ours = nodes.view().nodes.map(({ name, targets }) => [name, targets.map(({ address }) => address)]);
    assert.deepEqual(ours, theirs);
    assert.equal(nodes.view().self, local?.name);
    await nodes.stop();
  });

  it('takes the whole list of an agent of 2018 from its healthz, each time, as it has no differences', async () => {
    const clock = new VirtualClock();
    const lists = [[a, b], [b]];
    const nodes = createAgentNodes(
      { pollMs: 1000 },
      {
        clock,
        log: silentLog,
        nodeChanges: () => Promise.reject(new SourceError('no such path', { code: 'NOT_FOUND' })),
        healthz: async () => ({ cluster: { self: 'a', nodes: lists.shift() ?? [c] } }),
      },
    );
    const names = (): string[] => nodes.view().nodes.map(({ name }) => name);
    await nodes.start();
    assert.deepEqual([nodes.view().self, names()], ['a', ['a', 'b']]);
    await clock.pass(1500);
    assert.deepEqual(names(), ['b']);
    await clock.pass(1000);
    assert.deepEqual(names(), ['c']);
    await nodes.stop();
  });

  it('tells zones, and of a node that came into another one', async () => {
    const { clock, nodes } = provider([
      { 'client-id': 7, 'nodes-added': [{ ...a, zone: 'z1' }, b] },
      { 'client-id': 7, 'nodes-added': [{ ...a, zone: 'z2' }], 'nodes-removed': [a] },
    ]);
    let told = 0;
    nodes.onChange(() => told++);
    await nodes.start();
    const zones = () => nodes.view().nodes.map(({ name, zone }) => [name, zone]);
    assert.deepEqual(zones(), [
      ['a', 'z1'],
      ['b', undefined],
    ]);
    await clock.pass(1500);
    assert.deepEqual(zones(), [
      ['b', undefined],
      ['a', 'z2'],
    ]);
    assert.equal(told, 2);
    await nodes.stop();
  });

  it('takes a node that is told twice once, thousands of changes at once, and an empty list', async () => {
    const many = Array.from({ length: 3000 }, (_, i) => element(`m${i}`, `10.1.${i >> 8}.${i & 255}`));
    const { clock, nodes, names } = provider([
      { 'client-id': 7, 'nodes-added': [a, a, b, a] },
      { 'client-id': 7, 'nodes-added': many, 'nodes-removed': [b, b] },
      { 'client-id': 7, 'nodes-added': [b], 'nodes-removed': many },
      { 'client-id': 8, 'nodes-added': [] },
    ]);
    await nodes.start();
    assert.deepEqual(names(), ['a', 'b']);
    await clock.pass(1500);
    await until(() => names().length === 3001);
    await clock.pass(1000);
    assert.deepEqual(names(), ['a', 'b']);
    await clock.pass(1000);
    assert.deepEqual(names(), []);
    await nodes.stop();
  });

  it('tells of a change, and only of a change', async () => {
    const { clock, nodes } = provider([
      { 'client-id': 7, 'nodes-added': [a] },
      { 'client-id': 7, 'nodes-added': [] },
      { 'client-id': 7, 'nodes-added': [b] },
    ]);
    let told = 0;
    nodes.onChange(() => told++);
    await nodes.start();
    assert.equal(told, 1);
    await clock.pass(1500);
    assert.equal(told, 1);
    await clock.pass(1000);
    assert.equal(told, 2);
    await nodes.stop();
  });
});

describe('which node of the list in a file this one is', () => {
  const list = '- {name: n1, ipv4: 10.0.0.1, ipv4HealthIp: 10.1.0.1}\n- {name: n2, ipv4: 10.0.0.2}';

  async function started(self: string | undefined, own: readonly string[]) {
    const folder = mkdtempSync(join(tmpdir(), 'nodes-'));
    const file = join(folder, 'nodes.yaml');
    writeFileSync(file, list);
    const said: string[] = [];
    const log = {
      ...silentLog,
      warn: (_: object, text: string) => void said.push(text),
    } as unknown as Logger;
    const deps = { clock: new VirtualClock(), log, ownAddresses: () => new Set(own) };
    const nodes = createStaticNodes({ file, self }, deps);
    await nodes.start();
    rmSync(folder, { recursive: true });
    await nodes.stop();
    return { self: nodes.view().self, said };
  }

  it('is the one that was told', async () => {
    assert.deepEqual(await started('n2', ['10.0.0.1']), { self: 'n2', said: [] });
  });

  it('is the only one with an address of this machine', async () => {
    assert.deepEqual(await started(undefined, ['127.0.0.1', '10.0.0.2']), { self: 'n2', said: [] });
  });

  it('is said not to be known when there are none or several, and what to do', async () => {
    for (const own of [[], ['10.1.0.1'], ['10.0.0.1', '10.0.0.2']]) {
      const { self, said } = await started(undefined, own);
      assert.equal(self, undefined);
      assert.match(said.join(), /^which node of the list this is.*--node-name$/);
    }
  });

  it('is said to be none of it when the name is not there, and which was probably meant', async () => {
    const { self, said } = await started('n3', ['10.0.0.1']);
    assert.equal(self, 'n3');
    assert.match(said.join(), /^no node of the list.*did you mean n1\?$/);
  });
});

describe('a node list in a file', () => {
  const nobody = (): ReadonlySet<string> => new Set();

  it('may be short, or as the API has it', () => {
    const short = parseNodeList('- {name: n1, ipv4: 10.0.0.1, ipv6: "fd00::1", ipv4HealthIp: 10.1.0.1}', 'f');
    assert.deepEqual(
      short[0]?.targets.map(({ kind, primary, address }) => [kind, primary, address]),
      [
        ['node', true, '10.0.0.1'],
        ['node', false, 'fd00::1'],
        ['endpoint', true, '10.1.0.1'],
      ],
    );
    const long = parseNodeList(JSON.stringify([element('n1', '10.0.0.1', '10.1.0.1')]), 'f');
    assert.equal(long[0]?.targets.length, 2);
  });

  for (const [text, why] of [
    ['nodes: 3', /list/],
    ['- {ipv4: 10.0.0.1}', /needs a name/],
    ['- {name: 5}', /f\[0\]\.name: a name must be text: "5" in quotes/],
    ['- {name: a, ipv4: 10.0.0.300}', /f\[0\]\.ipv4: no address: "10.0.0.300" is not an IP address$/],
    ['- {name: a, ipv5: 10.0.0.3}', /no such field "ipv5"/],
    ['- {name: a, ipv4: 10.0.0.1}\n- {name: a, ipv4: 10.0.0.2}', /f\[1\]\.name: a second node/],
    ['- {name: a}', /f\[0\]: a node needs an address/],
    ['- {name: a, ipv4HealthIp: 10.0.0.1}', /f\[0\]: a node needs an address/],
    ['- {name: a, primary-address: {}}', /f\[0\]: a node needs an address/],
    [
      '- {name: a, primary-address: {ipv4: {enabled: false, ip: 10.0.0.1}}}',
      /f\[0\]: a node needs an address/,
    ],
    [
      '- {name: a, primary-address: {ipv4: {enabled: true, ip: "fe80::1"}}}',
      /ipv4: fe80::1 is an address of IPv6$/,
    ],
    ['- {name: a, ipv6: 10.0.0.1}', /f\[0\]\.ipv6: 10\.0\.0\.1 is an address of IPv4$/],
    ['- {name: a, ipv4HealthIp: "fd00::1"}', /f\[0\]\.ipv4HealthIp: fd00::1 is an address of IPv6$/],
    ['- {name: a, ipv4: 0.0.0.0}', /f\[0\]\.ipv4: 0\.0\.0\.0 is the address of no node$/],
    ['- {name: a, ipv4: 224.0.0.1}', /224\.0\.0\.1 is the address of no node$/],
    ['- {name: a, ipv4: 255.255.255.255}', /255\.255\.255\.255 is the address of no node$/],
    ['- {name: a, ipv6: "fe80::1"}', /f\[0\]\.ipv6: fe80::1 is of one link, and does not say of which$/],
    ['- {name: a, ipv6: "ff02::1"}', /ff02::1 is the address of no node$/],
    [
      '- {name: a, ipv4: 10.0.0.1}\n- {name: b, ipv4: 10.0.0.1}',
      /f\[1\]: 10\.0\.0\.1 is an address of "a" too/,
    ],
    [
      '- {name: a, ipv4: 10.0.0.1}\n- {name: b, ipv4: 10.0.0.2, ipv4HealthIp: 10.0.0.1}',
      /f\[1\]: 10\.0\.0\.1/,
    ],
    ['- {name: a, zone: 3}', /f\[0\]\.zone/],
    ['', /neither a list nor/],
    ['- {name: [', /^node list f: neither YAML nor JSON: [^\n]+ at line 1, column \d+$/],
  ] as const) {
    it(`is refused with the place and the reason: ${text.replace('\n', ' ')}`, () => {
      assert.throws(
        () => parseNodeList(text, 'f'),
        (error) =>
          error instanceof UsageError && error.code === 'NODE_LIST_INVALID' && why.test(errorText(error)),
      );
    });
  }

  it('may write an address in any way: it is kept as the kernel writes it', () => {
    const ipv6 = (ip: string) => ({ ipv6: { enabled: true, ip } });
    const written = {
      name: 'n1',
      'primary-address': ipv6('FD00:0:0::1'),
      'health-endpoint-address': ipv6('fd00:1:0:0:0:0:0:A'),
    };
    const [node] = parseNodeList(JSON.stringify([written]), 'f');
    assert.deepEqual(
      node?.targets.map(({ address }) => address),
      ['fd00::1', 'fd00:1::a'],
    );
    const twice =
      '- {name: a, ipv6: "fd00::1"}\n- {name: b, primary-address: {ipv6: {enabled: true, ip: "fd00:0::1"}}}';
    assert.throws(() => parseNodeList(twice, 'f'), { message: /fd00::1 is an address of "a" too/ });
  });

  it('tells zones, and may be empty when it says so', () => {
    const nodes = parseNodeList('- {name: a, ipv4: 10.0.0.1, zone: z1}\n- {name: b, ipv4: 10.0.0.2}', 'f');
    assert.deepEqual(
      nodes.map(({ zone }) => zone),
      ['z1', undefined],
    );
    assert.equal(
      parseNodeList(JSON.stringify([{ ...element('n1', '10.0.0.1'), zone: 'z2' }]), 'f')[0]?.zone,
      'z2',
    );
    assert.deepEqual(parseNodeList('[]', 'f'), []);
  });

  it('may be gone for a while: the last list stays, and is renewed when the file is back', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'nodes-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'nodes.yaml');
    const text = '- {name: a, ipv4: 10.0.0.1}';
    writeFileSync(file, text);
    const said: string[] = [];
    const note = (_fields: object, message: string): void => void said.push(message);
    const log = { ...silentLog, info: note, warn: note } as unknown as Logger;
    const clock = new VirtualClock();
    const nodes = createStaticNodes({ file, self: 'a' }, { clock, log, ownAddresses: nobody });
    await nodes.start();
    rmSync(file);
    await clock.pass(9000);
    assert.deepEqual([nodes.view().nodes.length, nodes.view().stale === undefined], [1, false]);
    writeFileSync(file, text);
    await clock.pass(2500);
    assert.equal(nodes.view().stale, undefined);
    writeFileSync(file, '[]');
    await clock.pass(2500);
    assert.deepEqual(nodes.view().nodes, []);
    assert.deepEqual(said, [
      'the node list cannot be renewed: the last one stays',
      'the node list is renewed',
      'the node list is empty: nothing is probed',
    ]);
    await nodes.stop();
  });

  it('is read again when it changes, and stays when the change is broken', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'nodes-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'nodes.yaml');
    writeFileSync(file, '- {name: a, ipv4: 10.0.0.1}');
    const clock = new VirtualClock();
    const nodes = createStaticNodes({ file }, { clock, log: silentLog, ownAddresses: nobody });
    await nodes.start();
    writeFileSync(file, '- {name: a, ipv4: 10.0.0.1}\n- {name: b, ipv4: 10.0.0.2}');
    await clock.pass(2500);
    assert.equal(nodes.view().nodes.length, 2);
    writeFileSync(file, '- {name: ');
    await clock.pass(2500);
    assert.equal(nodes.view().nodes.length, 2);
    assert.match(nodes.view().stale?.reason ?? '', /node list/);
    await nodes.stop();
  });
});
