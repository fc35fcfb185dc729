import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controllers } from '../../src/agent/controllers.ts';
import { IpNetworkSetup } from '../../src/agent/ip-network-setup.ts';
import { Ipam } from '../../src/agent/ipam.ts';
import { Ipcache } from '../../src/agent/ipcache.ts';
import { mapCache } from '../../src/agent/map-cache.ts';
import { listenAddressOf, nodeFacts } from '../../src/agent/node-facts.ts';
import { defaultAgentOptions } from '../../src/agent/options.ts';
import { isRunning, processRef } from '../../src/agent/process-ref.ts';
import { Regenerator } from '../../src/agent/regenerator.ts';
import { parseCidr } from '../../src/base/ip.ts';
import { silentLog } from '../../src/base/log.ts';
import { endpoint } from './one-endpoint.ts';

describe('Ipam', () => {
  const make = () =>
    new Ipam({ ipv4Range: parseCidr('10.0.0.0/29'), ipv6Range: undefined, expirationMs: 10 });

  it('gives each address once, never the network, router or broadcast, and says when none is left', () => {
    const ipam = make();
    const given = Array.from({ length: 5 }, () => ipam.allocateNext(4, 'x').ip);
    assert.deepEqual(given, ['10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6']);
    assert.throws(() => ipam.allocateNext(4, 'x'), { code: 'IPAM_EXHAUSTED' });
    ipam.release('10.0.0.3');
    assert.equal(ipam.allocateNext(4, 'y').ip, '10.0.0.3');
  });

  it('lets a freed address rest while others are free', () => {
    const ipam = make();
    const { ip } = ipam.allocateNext(4, 'x');
    ipam.release(ip);
    assert.notEqual(ipam.allocateNext(4, 'x').ip, ip);
  });

  for (const [ip, code] of [
    ['10.0.0.0', 'IPAM_OUTSIDE'],
    ['10.0.0.7', 'IPAM_OUTSIDE'],
    ['10.0.1.2', 'IPAM_OUTSIDE'],
    ['10.0.0.1', 'IPAM_IN_USE'],
    ['fd00::1', 'IPAM_FAMILY_OFF'],
    ['nonsense', 'IP_INVALID'],
  ] as const) {
    it(`refuses ${ip} with ${code}`, () => assert.throws(() => make().allocate(ip, 'x'), { code }));
  }

  it('takes an address back that nobody confirmed in time, and keeps a confirmed one', async () => {
    const ipam = make();
    const lost = ipam.allocateNext(4, 'x', true).ip;
    const kept = ipam.allocateNext(4, 'x', true).ip;
    ipam.confirm(kept, 'endpoint 7');
    const deadline = performance.now() + 5000;
    while (ipam.holder(lost) !== undefined && performance.now() < deadline) await sleep(5);
    assert.equal(ipam.holder(lost), undefined);
    assert.equal(ipam.holder(kept)?.owner, 'endpoint 7');
  });
});

describe('Regenerator', () => {
  it('makes one run of all requests that come while one is under way', async () => {
    const runs: (readonly string[])[] = [];
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const regenerator = new Regenerator({
      regenerate: async (_endpoint, reasons) => {
        runs.push(reasons);
        if (runs.length === 1) await gate;
      },
    });
    const one = endpoint();
    const all = ['a', 'b', 'c', 'b'].map((reason) => regenerator.request(one, reason));
    release();
    await Promise.all(all);
    assert.deepEqual(runs, [['a'], ['b', 'c']]);
    await regenerator.stop();
  });

  it('runs at most so many at a time, and tries a failed one again', async () => {
    let running = 0;
    let most = 0;
    const attempts = new Map<number, number>();
    const regenerator = new Regenerator(
      {
        regenerate: async ({ id }) => {
          most = Math.max(most, ++running);
          await sleep(1);
          running--;
          attempts.set(id, (attempts.get(id) ?? 0) + 1);
          if (id === 3 && attempts.get(id) === 1) throw new Error('once');
        },
      },
      { concurrency: 2, retryBaseMs: 1 },
    );
    const outcomes = await Promise.allSettled(
      [1, 2, 3, 4, 5].map((id) => regenerator.request(endpoint(id), 'x')),
    );
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
    );
    assert.equal(most, 2);
    const deadline = performance.now() + 5000;
    while (attempts.get(3) !== 2 && performance.now() < deadline) await sleep(2);
    assert.equal(attempts.get(3), 2);
    await regenerator.stop();
  });

  it('rejects what waits when the endpoint goes, and runs nothing for it afterwards', async () => {
    const regenerator = new Regenerator({ regenerate: async () => undefined }, { concurrency: 1 });
    const one = endpoint();
    void regenerator.request(endpoint(1), 'x');
    const waiting = regenerator.request(one, 'x');
    await regenerator.end(one);
    await assert.rejects(waiting, /is going/);
  });
});

describe('Controllers', () => {
  it('count successes and failures, keep the last message, and run again after a failure', async () => {
    const controllers = new Controllers(silentLog);
    let runs = 0;
    const controller = controllers.add({
      name: 'c',
      retryBaseMs: 1,
      run: async () => {
        runs++;
        if (runs === 1) throw new Error('not yet');
      },
    });
    await assert.rejects(controller.trigger(), /not yet/);
    assert.equal(controllers.reports()[0]?.lastFailureMessage, 'not yet');
    const deadline = performance.now() + 5000;
    while (runs < 2 && performance.now() < deadline) await sleep(2);
    await controllers.stop();
    const [report] = controllers.reports();
    assert.deepEqual([report?.successes, report?.failures, report?.consecutiveFailures], [1, 1, 0]);
  });

  it('run once more for triggers that come during a run, not once for each', async () => {
    const controllers = new Controllers(silentLog);
    let runs = 0;
    const controller = controllers.add({
      name: 'c',
      run: async () => {
        await sleep(1);
        runs++;
      },
    });
    await Promise.all([controller.trigger(), controller.trigger(), controller.trigger()]);
    assert.equal(runs, 2);
    await controllers.stop();
  });
});

describe('IpNetworkSetup', () => {
  const node = (name: string, range: string, ipv4: string) => ({
    name,
    ipv4,
    ipv6: undefined,
    ipv4AllocRange: range,
    ipv6AllocRange: undefined,
    ipv4HealthIp: undefined,
    ipv6HealthIp: undefined,
  });

  it('takes over the routes of an earlier agent and changes only what differs', async () => {
    const calls: string[] = [];
    const setup = new IpNetworkSetup(
      { devices: [], ipv4Range: undefined, ipv6Range: undefined },
      {
        setSysctl: () => undefined,
        ip: async (args, input) => {
          if (args.includes('show')) {
            const routes = args.includes('-4')
              ? [
                  { dst: '10.0.2.0/24', gateway: '192.0.2.2' },
                  { dst: '10.0.3.0/24', gateway: '192.0.2.3' },
                ]
              : [];
            return { stdout: JSON.stringify(routes), stderr: '', exitCode: 0 };
          }
          calls.push((input ?? '').trim());
          return { stdout: '', stderr: '', exitCode: 0 };
        },
      },
    );
    await setup.syncNodes([node('n2', '10.0.2.0/24', '192.0.2.2'), node('n4', '10.0.4.0/24', '192.0.2.4')]);
    assert.deepEqual(calls, [
      'route del 10.0.3.0/24 proto 201',
      'route replace 10.0.4.0/24 via 192.0.2.4 proto 201',
    ]);
  });

  it('says what ip refused', async () => {
    const setup = new IpNetworkSetup(
      { devices: [], ipv4Range: parseCidr('10.0.0.0/24'), ipv6Range: undefined },
      {
        setSysctl: () => undefined,
        ip: async () => ({ stdout: '', stderr: 'RTNETLINK answers: no', exitCode: 2 }),
      },
    );
    await assert.rejects(setup.prepareNode(), { code: 'ROUTE_REFUSED', message: /RTNETLINK answers: no/ });
  });
});

describe('nodeFacts', () => {
  const address = (family: 'IPv4' | 'IPv6', text: string) =>
    ({ family, address: text, internal: false, netmask: '', mac: '', cidr: '' }) as never;
  const deps = {
    interfaces: () => ({
      eth0: [address('IPv6', 'fe80::1'), address('IPv4', '192.0.2.1'), address('IPv6', '2001:db8::1')],
      eth1: [address('IPv4', '198.51.100.1')],
    }),
    routeTable: () =>
      'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n' +
      'eth1\t00000000\t010200C0\t0003\t0\t0\t200\t00000000\n' +
      'eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\n',
  };

  it('takes the device of the best default route and its global addresses', () => {
    assert.deepEqual(nodeFacts(defaultAgentOptions(), deps), {
      ipv4: '192.0.2.1',
      ipv6: '2001:db8::1',
      devices: ['eth0'],
    });
  });

  it('names the devices that there are when one is missing', () => {
    const options = { ...defaultAgentOptions(), devices: ['eth9'] };
    assert.throws(() => nodeFacts(options, deps), { code: 'DEVICE_MISSING', message: /eth9.*eth0, eth1/ });
    assert.throws(() => nodeFacts(options, { ...deps, interfaces: () => ({}) }), {
      message: /eth9.*: none$/,
    });
  });

  it('asks for an address when there is none', () => {
    const none = { interfaces: () => ({}), routeTable: () => '' };
    assert.throws(() => nodeFacts(defaultAgentOptions(), none), { code: 'NODE_ADDRESS' });
  });
});

describe('listenAddressOf', () => {
  const node = { ipv4: '192.0.2.1', ipv6: '2001:db8::1' };
  const metrics = defaultAgentOptions()['metrics-address'];

  it('keeps the default metrics off every address but the own one of the node', () => {
    assert.ok(metrics);
    assert.deepEqual(listenAddressOf(metrics, node), { host: '192.0.2.1', port: 9962 });
    assert.equal(listenAddressOf(metrics, { ...node, ipv4: undefined }).host, '2001:db8::1');
    assert.equal(listenAddressOf(metrics, { ipv4: undefined, ipv6: undefined }).host, '127.0.0.1');
  });

  it('leaves an address that was named', () => {
    const all = { host: '0.0.0.0', port: 1 };
    assert.deepEqual(listenAddressOf(all, node), all);
  });
});

describe('processRef', () => {
  it('knows a running process, and takes no later one with its pid for it', () => {
    const self = processRef(process.pid);
    assert.ok(self !== undefined && isRunning(self));
    assert.equal(isRunning({ ...self, startTicks: '1' }), false);
    assert.equal(processRef(2 ** 22 + 1), undefined);
  });
});

describe('mapCache', () => {
  const ipcache = new Ipcache('n1', {
    datapath: {
      upsertIpcache: async () => undefined,
      deleteIpcache: async () => undefined,
      readIpcache: async () => [],
    },
    emit: () => undefined,
    log: silentLog,
    onDirty: () => undefined,
    mayName: () => true,
  });

  it('shows the policy of an endpoint and the ipcache, and no copy of other maps', () => {
    const one = endpoint();
    const key = { direction: 'ingress', identity: 300, protocol: 6, port: 80, portPrefixLength: 16 } as const;
    const entry = { verdict: { kind: 'allow' }, precedence: 1, ruleId: 1 } as const;
    one.kernelState = new Map([['k', { key, entry }]]);
    ipcache.setRemote({ cidr: '10.0.2.9/32', identity: 300, node: 'n2', hostIp: '192.0.2.2' });
    const deps = { endpoints: [one], ipcache };
    assert.deepEqual(mapCache('ciliate_policy_v2_7', deps), [{ key: 'Ingress: 300 80/TCP', value: 'allow' }]);
    assert.deepEqual(mapCache('ciliate_ipcache_v1', deps), [
      { key: '10.0.2.9/32', value: 'identity=300 encryptkey=0 tunnelendpoint=192.0.2.2 flags=<none>' },
    ]);
    assert.equal(mapCache('ciliate_ct4_v1', deps), undefined);
    assert.equal(mapCache('ciliate_policy_v2_8', deps), undefined);
  });
});
