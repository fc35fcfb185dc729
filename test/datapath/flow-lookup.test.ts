import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { BpfError } from '../../bpf/addon/index.ts';
import { type FlowAddress, type FlowLookup, openFlowLookup } from '../../src/datapath/index.ts';
import { packet, TcpFlag, tcp } from '../support/packets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { LOOPBACK, ProgramRig, testEndpoint } from '../support/program-rig.ts';

const OPEN = { ingress: false, egress: false };
const A = testEndpoint(1, { identity: 1000, ifindex: LOOPBACK });
const B = testEndpoint(2, { identity: 2000 });
const END = { 4: { A: '10.0.0.1', B: '10.0.0.2' }, 6: { A: 'fd00::1', B: 'fd00::2' } } as const;

describe('the lookup of flows by inherited descriptors', { skip: bpfOrSkip() }, () => {
  let rig: ProgramRig;
  let lookup: FlowLookup;
  const descriptors: number[] = [];

  before(async () => {
    rig = new ProgramRig();
    await rig.start([], ['10.0.0.0/8', 'fd00::/64']);
    await rig.attach(A, OPEN);
    await rig.attach(B, OPEN);
    const { ct4, ct6, shownEpochs } = rig.loaded.maps;
    descriptors.push(ct4.readOnlyDescriptor(), ct6.readOnlyDescriptor(), shownEpochs.descriptor());
    const [ipv4 = -1, ipv6 = -1, epochs = -1] = descriptors;
    lookup = openFlowLookup({ ipv4, ipv6, epochs });
  });
  after(() => {
    lookup?.close();
    for (const fd of descriptors) closeSync(fd);
    rig?.close();
  });

  for (const family of [4, 6] as const)
    for (const [from, to] of [
      [40_000, 80],
      [80, 40_001],
      [256, 1],
    ] as const)
      it(`finds who opened an IPv${family} flow from port ${from} to ${to}, asked from either end`, () => {
        const { A: source, B: destination } = END[family];
        const payload = tcp(from, to, TcpFlag.syn);
        rig.run('from_pod', packet({ source, destination, sourceMac: A.mac, payload }));
        const client = { address: source, port: from };
        const server = { address: destination, port: to };
        const a = { identity: 1000, local: true, redirects: false };
        const b = { identity: 2000, local: true, redirects: false };
        const asked = (one: FlowAddress, other: FlowAddress) => {
          const { holds, ...flow } = lookup.find(one, other, 6) ?? assert.fail();
          return { ...flow, holds: holds() };
        };
        assert.deepEqual(asked(client, server), { client: a, server: b, opensAsAsked: true, holds: true });
        assert.deepEqual(asked(server, client), { client: b, server: a, opensAsAsked: false, holds: true });
        assert.equal(lookup.find(client, server, 17), undefined);
        assert.equal(lookup.find(client, { ...server, port: to + 1 }, 6), undefined);
      });

  it('knows no flow between families, and refuses a descriptor of something else', () => {
    const mixed = lookup.find({ address: '10.0.0.1', port: 1 }, { address: 'fd00::2', port: 2 }, 6);
    assert.equal(mixed, undefined);
    const wrongKind = (error: unknown): boolean =>
      error instanceof BpfError && error.code === 'BPF_WRONG_KIND';
    assert.throws(() => openFlowLookup({ ipv4: 0, ipv6: 0, epochs: 0 }), wrongKind);
    assert.throws(() => openFlowLookup({ ipv4: 99_999, ipv6: 99_999, epochs: 99_999 }), wrongKind);
    const [ipv4 = -1, ipv6 = -1] = descriptors;
    assert.throws(() => openFlowLookup({ ipv4, ipv6, epochs: ipv4 }), { code: 'BPF_ARGUMENT' });
  });

  it('knows an identity to be out of date from the change of the address or the policy on, until the next packet', async () => {
    const remote = '10.9.0.9';
    await rig.setIdentity(`${remote}/32`, 3000);
    const send = () =>
      rig.run(
        'from_pod',
        packet({
          source: '10.0.0.1',
          destination: remote,
          sourceMac: A.mac,
          payload: tcp(5000, 80, TcpFlag.syn),
        }),
      );
    const find = () =>
      lookup.find({ address: '10.0.0.1', port: 5000 }, { address: remote, port: 80 }, 6) ?? assert.fail();
    send();
    const first = find();
    assert.deepEqual([first.server.identity, first.holds()], [3000, true]);
    await rig.setIdentity(`${remote}/32`, 3001);
    assert.equal(first.holds(), false);
    assert.deepEqual([find().server.identity, find().holds()], [3000, false], 'no packet came yet');
    send();
    const second = find();
    assert.deepEqual([second.server.identity, second.holds()], [3001, true]);
    assert.equal(first.holds(), false);
    await rig.setPolicy(A.id, new Map(), OPEN);
    assert.equal(second.holds(), false);
  });

  it('lets a process without any capability look up and nothing more', () => {
    const module = pathToFileURL('bpf/addon/index.ts').href;
    const script = `
      import { loadBpf } from ${JSON.stringify(module)};
      const map = loadBpf().mapFromDescriptor(3);
      const key = Buffer.alloc(map.info.keySize);
      const codes = [map.lookup(key) === undefined ? 'looked up' : 'found'];
      for (const change of [() => map.delete(key), () => map.update(key, Buffer.alloc(map.info.valueSize))])
        try { change(); codes.push('changed'); } catch (error) { codes.push(error.code); }
      console.log(codes.join(' '));`;
    const argv = [
      '--inh-caps=-all',
      '--bounding-set=-all',
      process.execPath,
      '--input-type=module',
      '-e',
      script,
    ];
    const [ipv4 = -1] = descriptors;
    const { stdout, stderr } = spawnSync('setpriv', argv, {
      stdio: ['ignore', 'pipe', 'pipe', ipv4],
      encoding: 'utf8',
    });
    assert.equal(stdout.trim(), 'looked up BPF_EPERM BPF_EPERM', stderr);
  });
});
