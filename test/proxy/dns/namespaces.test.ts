import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import type { DnsObservation } from '../../../src/model/proxy-protocol.ts';
import type { Zone } from '../../support/dns-server.ts';
import { isClean, leftovers, NetnsLab, snapshot } from '../../support/netns.ts';
import { rootOrSkip } from '../../support/privilege.ts';

const here = (file: string): string => new URL(file, import.meta.url).pathname;

const ADDRESS = {
  client: ['10.90.0.7', 'fd00:90::7'],
  server: ['198.51.100.53', '2001:db8:53::53'],
} as const;

const ZONE: Zone = {
  'www.x.io': { a: ['192.0.2.1', '192.0.2.2'], aaaa: ['2001:db8::1'], ttl: 77 },
  'forged.x.io': { a: ['192.0.2.3'], forge: true },
  'chain.x.io': { cname: 'edge.cdn.net' },
  'edge.cdn.net': { a: ['192.0.2.4'], ttl: 5 },
  'big.x.io': { a: Array.from({ length: 200 }, (_, i) => `203.0.113.${i}`), big: true },
  'late.x.io': { a: ['192.0.2.9'] },
  'evil.io': { a: ['192.0.2.66'] },
};

/** A resolver of Node (c-ares) in a namespace: prints addresses or the code of the error. */
const LOOK_UP = `
  const { Resolver } = require('node:dns').promises;
  const [server, type, name] = process.argv.slice(1);
  const resolver = new Resolver({ timeout: 1500, tries: 1 });
  resolver.setServers([server]);
  resolver.resolve(name, type).then((found) => console.log(JSON.stringify(found)), (error) => console.log(error.code));`;

/** A process in a namespace that speaks in lines. */
class Child {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #wake = (): void => undefined;

  constructor(netns: string, argv: readonly string[]) {
    this.#child = spawn('nsenter', [`--net=${netns}`, '--', process.execPath, ...argv], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const reader = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    reader.on('line', (line) => {
      this.lines.push(line);
      this.#wake();
    });
    this.#ended = new Promise((resolve) => this.#child.on('close', () => resolve()));
    void this.#ended.then(() => this.#wake());
  }

  async until(holds: (lines: readonly string[]) => boolean): Promise<void> {
    const end = performance.now() + 10_000;
    while (!holds(this.lines)) {
      if (this.#child.exitCode !== null || performance.now() > end)
        throw new Error(`the child said only:\n${this.lines.join('\n')}`);
      const tick = setTimeout(() => this.#wake(), 100);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      clearTimeout(tick);
    }
  }

  parsed<T>(key: string): T[] {
    return this.lines
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, T>)
      .flatMap((line) => (key in line ? [line[key] as T] : []));
  }

  /** Ends its input, and it with that; one that does not look at it is killed. */
  async stop(kill: boolean): Promise<void> {
    this.#child.stdin?.end();
    if (kill) this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

describe('the DNS proxy between namespaces', { skip: rootOrSkip() }, () => {
  const clean = snapshot();
  const lab = new NetnsLab('q');
  let client = '';
  let proxy: Child;
  let server: Child;

  async function routeToProxy(node: string, toClient: string, toServer: string): Promise<void> {
    const off = ['all', 'default', toClient, toServer].map((name) => `net.ipv4.conf.${name}.rp_filter=0`);
    await lab.sysctl(node, ...off);
    for (const family of ['-4', '-6']) {
      await lab.ip(family, '-n', node, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100');
      for (const protocol of ['udp', 'tcp'])
        for (const [device, port] of [
          [toClient, 'dport'],
          [toServer, 'sport'],
        ] as const)
          await lab.ip(
            family,
            '-n',
            node,
            'rule',
            'add',
            'iif',
            device,
            'ipproto',
            protocol,
            port,
            '53',
            'lookup',
            '100',
            'pref',
            '5',
          );
    }
  }

  before(async () => {
    const [c, node, s] = [await lab.namespace('c'), await lab.namespace('n'), await lab.namespace('s')];
    client = c;
    await lab.veth(
      { name: 'eth0', netns: c, addresses: ['10.90.0.7/24', 'fd00:90::7/64'] },
      { name: 'toc', netns: node, addresses: ['10.90.0.1/24', 'fd00:90::1/64'] },
    );
    await lab.veth(
      { name: 'eth0', netns: s, addresses: ['198.51.100.53/24', '2001:db8:53::53/64'] },
      { name: 'tos', netns: node, addresses: ['198.51.100.1/24', '2001:db8:53::1/64'] },
    );
    for (const [end, v4, v6] of [
      [c, '10.90.0.1', 'fd00:90::1'],
      [s, '198.51.100.1', '2001:db8:53::1'],
    ] as const) {
      await lab.ip('-n', end, 'route', 'add', 'default', 'via', v4);
      await lab.ip('-n', end, 'route', 'add', 'default', 'via', v6);
    }
    await routeToProxy(node, 'toc', 'tos');
    server = new Child(lab.path(s), [here('../../support/dns-server.ts'), JSON.stringify(ZONE)]);
    proxy = new Child(lab.path(node), [here('part-child.ts'), ADDRESS.client.join(), '*.x.io']);
    await Promise.all([server, proxy].map((child) => child.until((lines) => lines.includes('ready'))));
    // A new link may lose its first packets.
    for (const at of ADDRESS.server)
      for (let i = 0; i < 5 && (await lookUp('none.x.io', 'A', at)) === 'ETIMEOUT'; i++);
  });

  after(async () => {
    await proxy?.stop(true);
    await server?.stop(true);
    await lab.cleanUp();
    assert.ok(isClean(leftovers(clean, new RegExp(lab.prefix))));
  });

  async function lookUp(name: string, type = 'A', at: string = ADDRESS.server[0]): Promise<unknown> {
    const { stdout } = await lab.exec(client, [process.execPath, '-e', LOOK_UP, at, type, name]);
    const text = String(stdout).trim();
    return text.startsWith('[') ? JSON.parse(text) : text;
  }

  const asked = (name: string) =>
    server.lines
      .filter((line) => line.includes(`"name":"${name}"`))
      .map((line) => JSON.parse(line) as { transport: string; from: string });

  const observations = (name: string): DnsObservation[] =>
    proxy.parsed<DnsObservation>('observed').filter(({ names }) => names[0] === name);

  it('lets a resolver have what a rule allows, over IPv4 and IPv6, and keeps its address', async () => {
    assert.deepEqual(await lookUp('www.x.io'), ['192.0.2.1', '192.0.2.2']);
    assert.deepEqual(await lookUp('www.x.io', 'AAAA', ADDRESS.server[1]), ['2001:db8::1']);
    const from = asked('www.x.io').map((query) => query.from.split(' ')[0]);
    assert.deepEqual(from, ADDRESS.client);
    assert.deepEqual(
      observations('www.x.io').map(({ endpoint, addresses, ttlSeconds }) => ({
        endpoint,
        addresses,
        ttlSeconds,
      })),
      [
        { endpoint: 7, addresses: ['192.0.2.1', '192.0.2.2'], ttlSeconds: 77 },
        { endpoint: 7, addresses: ['2001:db8::1'], ttlSeconds: 77 },
      ],
    );
  });

  it('refuses other names, and the server never hears of them', async () => {
    assert.equal(await lookUp('evil.io'), 'EREFUSED');
    assert.equal(await lookUp('x.io', 'A', ADDRESS.server[1]), 'EREFUSED');
    assert.deepEqual([...asked('evil.io'), ...asked('x.io')], []);
  });

  it('passes on that a name does not exist', async () => {
    assert.equal(await lookUp('none.x.io'), 'ENOTFOUND');
  });

  it('keeps forged answers from the client', async () => {
    assert.deepEqual(await lookUp('forged.x.io'), ['192.0.2.3']);
    assert.deepEqual(
      observations('forged.x.io').map(({ addresses }) => addresses),
      [['192.0.2.3']],
    );
  });

  it('follows a CNAME, whose target need not be allowed', async () => {
    assert.deepEqual(await lookUp('chain.x.io'), ['192.0.2.4']);
    const [{ names, ttlSeconds } = { names: [], ttlSeconds: 0 }] = observations('chain.x.io');
    assert.deepEqual({ names, ttlSeconds }, { names: ['chain.x.io', 'edge.cdn.net'], ttlSeconds: 5 });
  });

  it('lets a client that was told of truncation ask by TCP', async () => {
    for (const at of ADDRESS.server) {
      const found = await lookUp('big.x.io', 'A', at);
      assert.equal(Array.isArray(found) && found.length, 200);
    }
    assert.deepEqual(
      asked('big.x.io').map(({ transport }) => transport),
      ['udp', 'tcp', 'udp', 'tcp'],
    );
    assert.deepEqual(
      asked('big.x.io').map(({ from }) => from.split(' ')[0]),
      [ADDRESS.client[0], ADDRESS.client[0], ADDRESS.client[1], ADDRESS.client[1]],
    );
  });

  it('lets the resolver of the C library try its search domains, though their names are refused', async () => {
    const script = `mount -t tmpfs none /mnt && printf 'nameserver ${ADDRESS.server[0]}\\nsearch a.corp b.corp\\noptions ndots:5\\n' > /mnt/r &&
      mount --bind /mnt/r /etc/resolv.conf && getent -s dns ahostsv4 www.x.io`;
    const { stdout } = await lab.exec(client, ['unshare', '--mount', 'sh', '-c', script]);
    assert.match(String(stdout), /^192\.0\.2\.[12] +STREAM/);
    assert.deepEqual([...asked('www.x.io.a.corp'), ...asked('www.x.io.b.corp')], []);
  });

  it('lets an answer go on, counted, when nobody puts its addresses in force', async () => {
    assert.deepEqual(await lookUp('late.x.io'), ['192.0.2.9']);
  });

  it('has counted all of it, and holds nothing any more', async () => {
    await proxy.stop(false);
    const [counters] = proxy.parsed<Record<string, number>>('counters');
    const { denied, unapplied, foreignAnswers, wrongQuestions } = counters ?? {};
    assert.deepEqual(
      { denied, unapplied, foreignAnswers, wrongQuestions },
      { denied: 4, unapplied: 1, foreignAnswers: 1, wrongQuestions: 2 },
    );
    assert.equal(proxy.parsed<{ inFlight: number }>('usage')[0]?.inFlight, 0);
    const records = proxy.parsed<{ type: string; verdict: string }>('record');
    const count = (type: string, verdict: string): number =>
      records.filter((record) => record.type === type && record.verdict === verdict).length;
    assert.equal(count('request', 'denied'), 4);
  });
});
