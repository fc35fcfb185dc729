/**
 * What the DNS proxy costs: queries a second and latency, direct beside through the proxy, in one interleaved run. The
 * client asks from a new port each time; namespaces client - node - server, the proxy in the node. One query at a time is
 * measured with everything on one core, since wake-ups between virtual ones take longer than the proxy; many with the
 * proxy on core 0, client and server on core 1. Needs root and `cc`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChecked } from '../src/base/run.ts';
import { NetnsLab } from '../test/support/netns.ts';
import { type StartedProcess, startProcess } from '../test/support/process.ts';
import { cpuMs, NICELY } from './support/load.ts';
import { interleave, median, report } from './support/measure.ts';

const ROUNDS = 7;
const PROXIED = '198.51.100.53';
const DIRECT = '198.51.100.54';
const CLIENT = '10.91.0.7';
/** Clients at once: one for the latency of a query alone, many for throughput; and the core of the proxy. */
const LOADS = [
  { clients: 1, queries: 4000, core: 1 },
  { clients: 32, queries: 10_000, core: 0 },
] as const;
type Load = (typeof LOADS)[number] | typeof WARM_UP;
/** Before the first round: what runs a few thousand times only is not compiled yet. */
const WARM_UP = { clients: 32, queries: 30_000, core: 0 } as const;
const PATTERNS = ['*.x.io', ...Array.from({ length: 200 }, (_, i) => `*.name-${i}.example`)];
const SUPPORT = join(import.meta.dirname, 'support');

const folder = mkdtempSync(join(tmpdir(), 'ciliate-dns-'));
const program = join(folder, 'dnsload');
const lab = new NetnsLab('e');
const started: StartedProcess[] = [];

const within = (netns: string, core: number, argv: readonly string[]): readonly string[] => [
  ...['nsenter', `--net=${lab.path(netns)}`, '--', ...NICELY, 'taskset', '-c', String(core)],
  ...argv,
];

/** Queries and answers of one server go to the proxy, by the routing table; those of the other are forwarded. */
async function connectNode(node: string): Promise<void> {
  const off = ['all', 'default', 'toc', 'tos'].map((name) => `net.ipv4.conf.${name}.rp_filter=0`);
  await lab.sysctl(node, 'net.ipv4.ip_forward=1', ...off);
  await lab.ip('-n', node, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100');
  const rule = ['-n', node, 'rule', 'add', 'pref', '5', 'lookup', '100'];
  await lab.ip(...rule, 'iif', 'toc', 'to', PROXIED, 'ipproto', 'udp', 'dport', '53');
  await lab.ip(...rule, 'iif', 'tos', 'from', PROXIED, 'ipproto', 'udp', 'sport', '53');
}

async function makeNetwork(): Promise<{
  readonly client: string;
  readonly node: string;
  readonly server: string;
}> {
  const [client, node, server] = [
    await lab.namespace('c'),
    await lab.namespace('n'),
    await lab.namespace('s'),
  ];
  await lab.veth(
    { name: 'eth0', netns: client, addresses: [`${CLIENT}/24`] },
    { name: 'toc', netns: node, addresses: ['10.91.0.1/24'] },
  );
  await lab.veth(
    { name: 'eth0', netns: server, addresses: [`${PROXIED}/24`, `${DIRECT}/24`] },
    { name: 'tos', netns: node, addresses: ['198.51.100.1/24'] },
  );
  await lab.ip('-n', client, 'route', 'add', 'default', 'via', '10.91.0.1');
  await lab.ip('-n', server, 'route', 'add', 'default', 'via', '198.51.100.1');
  await connectNode(node);
  return { client, node, server };
}

async function start(argv: readonly string[]): Promise<number> {
  const process = await startProcess(argv);
  started.push(process);
  await process.waitForLine(/^ready$/);
  return process.pid;
}

interface Figures {
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly lost: number;
  /** CPU time of the proxy. */
  readonly cpuUs: number;
}

interface Network {
  readonly client: string;
  /** Process id of the proxy. */
  readonly proxy: number;
}

async function ask({ client, proxy }: Network, server: string, load: Load): Promise<Figures> {
  const before = cpuMs(proxy);
  const words = ['client', server, String(load.clients), String(load.queries)];
  const text = await runChecked(within(client, 1, [program, ...words]), { timeoutMs: 60_000 });
  const [perSecond = 0, p50Us = 0, p99Us = 0, lost = 0] = text.trim().split(' ').map(Number);
  const cpuUs = ((cpuMs(proxy) - before) * 1000) / load.queries;
  return { perSecond, p50Us, p99Us, lost, cpuUs };
}

async function measure(network: Network, load: Load): Promise<void> {
  const seen = { direct: [] as Figures[], proxied: [] as Figures[] };
  const variant = (name: keyof typeof seen, server: string) => ({
    name,
    run: async () => {
      const figures = await ask(network, server, load);
      seen[name].push(figures);
      return figures.perSecond;
    },
  });
  await interleave([variant('direct', DIRECT), variant('proxied', PROXIED)], ROUNDS);
  const of = (name: keyof typeof seen, key: keyof Figures): number =>
    median(seen[name].map((figures) => figures[key]));
  const rows = (['direct', 'proxied'] as const).flatMap((name) => [
    { what: name, value: of(name, 'perSecond'), unit: 'queries/s' },
    { what: `${name}: p50`, value: of(name, 'p50Us'), unit: 'us' },
    { what: `${name}: p99`, value: of(name, 'p99Us'), unit: 'us' },
  ]);
  report(`DNS through the proxy, ${load.clients} at once, ${PATTERNS.length} patterns`, [
    ...rows,
    { what: 'proxied / direct', value: of('proxied', 'perSecond') / of('direct', 'perSecond'), unit: '' },
    { what: 'added p50', value: of('proxied', 'p50Us') - of('direct', 'p50Us'), unit: 'us' },
    { what: 'added p99', value: of('proxied', 'p99Us') - of('direct', 'p99Us'), unit: 'us' },
    { what: 'CPU of the proxy a query', value: of('proxied', 'cpuUs'), unit: 'us' },
    {
      what: 'lost',
      value: seen.proxied.reduce((sum, { lost }) => sum + lost, 0),
      unit: 'queries',
      aim: '<= 0',
    },
  ]);
}

try {
  await runChecked(['cc', '-O2', '-o', program, join(SUPPORT, 'dnsload.c')]);
  const { client, node, server } = await makeNetwork();
  await start(within(server, 1, [program, 'server', PROXIED, DIRECT]));
  const proxy = await start(
    within(node, 0, [process.execPath, join(SUPPORT, 'dns-proxy.ts'), CLIENT, ...PATTERNS]),
  );
  const network = { client, proxy };
  await ask(network, PROXIED, WARM_UP);
  for (const load of LOADS) {
    await runChecked(['taskset', '-acp', String(load.core), String(proxy)]);
    await measure(network, load);
  }
} finally {
  for (const process of started) await process.stop('SIGKILL');
  await lab.cleanUp();
  rmSync(folder, { recursive: true, force: true });
}
