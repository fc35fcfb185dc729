/**
 * What HTTP costs through the proxy: requests a second and latency as `wrk` sees them, direct beside proxied beside nginx
 * as a plain reverse proxy, in one interleaved run on loopback; each proxy has core 0 for itself, wrk and the server
 * share core 1. And what 1,000 rules cost a request, without any network.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemError } from '../src/base/errors.ts';
import { runChecked } from '../src/base/run.ts';
import type { L7Filter } from '../src/model/l7.ts';
import { measureRules } from './support/l7-rules.ts';
import { interleave, median, report } from './support/measure.ts';

const ROUNDS = 5;
const SECONDS = 2;
const CONNECTIONS = 16;
const BODY = 'x'.repeat(128);

const folder = mkdtempSync(join(tmpdir(), 'ciliate-l7-'));
const started: ChildProcess[] = [];

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  return port;
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new SystemError('a listener without a port');
  return address.port;
}

async function reachable(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const socket = connect(port, '127.0.0.1');
    const ok = await new Promise((resolve) =>
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
    );
    socket.destroy();
    if (ok === true) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new SystemError(`nothing listens on 127.0.0.1:${port}`);
}

function nginxConfig(name: string, port: number, location: string): string {
  const file = join(folder, `${name}.conf`);
  writeFileSync(
    file,
    `worker_processes 1; daemon off; pid ${folder}/${name}.pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path ${folder}/${name}-b; proxy_temp_path ${folder}/${name}-p; fastcgi_temp_path ${folder}/${name}-f;
  uwsgi_temp_path ${folder}/${name}-u; scgi_temp_path ${folder}/${name}-s;
  ${location.startsWith('proxy') ? location.slice(5) : ''}
  server { listen 127.0.0.1:${port}; location / { ${location.startsWith('proxy') ? 'proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;' : location} } }
}\n`,
  );
  return file;
}

function start(core: number, argv: readonly string[], extra?: Socket | number): void {
  const stdio = ['ignore', 'ignore', 'inherit', ...(extra === undefined ? [] : [extra])] as const;
  started.push(spawn('taskset', ['-c', String(core), ...argv], { stdio: [...stdio] }));
}

async function startNginx(name: string, core: number, location: string): Promise<number> {
  const port = await freePort();
  start(core, ['nginx', '-c', nginxConfig(name, port, location), '-p', folder]);
  await reachable(port);
  return port;
}

const FILTERS: readonly L7Filter[] = [
  {
    ...{ protocol: 6, firstPort: 0, lastPort: 65_535, peers: undefined, ruleId: 1, ruleName: 'bench/rule' },
    l7: {
      kind: 'http',
      rules: [{ path: '/v1/.*', method: 'GET', host: undefined, headers: [], headerMatches: [] }],
    },
  },
];

/** Connects as the agent does, sends the policy, and reads log records away. */
async function beAgent(socketPath: string): Promise<Socket> {
  for (let attempt = 0; !existsSync(socketPath); attempt++) {
    if (attempt > 500) throw new SystemError('the proxy does not start');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const agent = connect(socketPath);
  const policy = { revision: 1, subjects: [{ subject: 200, ingress: FILTERS, egress: undefined }] };
  const endpoints = [{ endpoint: 7, identity: 200, addresses: ['127.0.0.1'] }];
  agent.write(`${JSON.stringify({ type: 'policy', sequence: 1, policy, endpoints })}\n`);
  await once(agent, 'data');
  agent.resume();
  return agent;
}

async function startProxy(core: number, origin: number): Promise<{ port: number; agent: Socket }> {
  const { loadSockets } = await import('../src/base/sockets/index.ts');
  const port = await freePort();
  const fd = loadSockets().openSocket({
    ...{ family: 4, type: 'stream', listen: 511 },
    bind: { address: '127.0.0.1', port },
  });
  const socketPath = join(folder, 'proxy.sock');
  const child = join(import.meta.dirname, 'support/l7-proxy-child.ts');
  start(core, [process.execPath, child, socketPath, String(origin)], fd);
  const agent = await beAgent(socketPath);
  return { port, agent };
}

interface Figures {
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

const UNITS: Readonly<Record<string, number>> = { us: 1, ms: 1000, s: 1e6 };

function latency(text: string, percent: string): number {
  const [, value, unit] = new RegExp(`\\s${percent}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? [];
  return Number(value) * (UNITS[unit ?? ''] ?? Number.NaN);
}

async function wrk(port: number, connections: number): Promise<Figures> {
  const text = await runChecked(
    [
      'taskset',
      '-c',
      '1',
      'wrk',
      '-t1',
      `-c${connections}`,
      `-d${SECONDS}s`,
      '--latency',
      `http://127.0.0.1:${port}/v1/a`,
    ],
    { timeoutMs: SECONDS * 1000 + 30_000 },
  );
  if (/Non-2xx|Socket errors/.test(text)) throw new SystemError(`wrk saw failures:\n${text}`);
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]);
  return { perSecond, p50Us: latency(text, '50'), p99Us: latency(text, '99') };
}

async function measureWrk(): Promise<void> {
  const origin = await startNginx('origin', 1, `return 200 "${BODY}";`);
  const upstream = `proxy upstream origin { server 127.0.0.1:${origin}; keepalive 64; }`;
  const nginx = await startNginx('nginx', 0, upstream);
  const { port: ours, agent } = await startProxy(0, origin);
  const ports = { direct: origin, ours, nginx };
  const single = new Map<string, Figures[]>();
  const variants = Object.entries(ports).map(([name, port]) => ({
    name,
    run: async () => {
      single.set(name, [...(single.get(name) ?? []), await wrk(port, 1)]);
      return (await wrk(port, CONNECTIONS)).perSecond;
    },
  }));
  const figures = await interleave(variants, ROUNDS);
  agent.destroy();
  const rate = (name: keyof typeof ports): number => median(figures.get(name) ?? []);
  const at = (name: keyof typeof ports, key: keyof Figures): number =>
    median((single.get(name) ?? []).map((f) => f[key]));
  report(`HTTP by wrk, ${CONNECTIONS} connections, medians of ${ROUNDS} rounds; latency with 1 connection`, [
    { what: 'direct', value: rate('direct'), unit: 'req/s' },
    { what: 'through nginx', value: rate('nginx'), unit: 'req/s' },
    { what: 'through the proxy', value: rate('ours'), unit: 'req/s' },
    { what: 'proxy / nginx', value: rate('ours') / rate('nginx'), unit: 'x', aim: '>= 0.5' },
    { what: 'proxy / direct', value: rate('ours') / rate('direct'), unit: 'x' },
    {
      what: 'p50 added by the proxy',
      value: at('ours', 'p50Us') - at('direct', 'p50Us'),
      unit: 'us',
      aim: '<= 100',
    },
    { what: 'p50 added by nginx', value: at('nginx', 'p50Us') - at('direct', 'p50Us'), unit: 'us' },
    {
      what: 'p50 added, proxy / nginx',
      value: (at('ours', 'p50Us') - at('direct', 'p50Us')) / (at('nginx', 'p50Us') - at('direct', 'p50Us')),
      unit: 'x',
    },
    { what: 'p99 added by the proxy', value: at('ours', 'p99Us') - at('direct', 'p99Us'), unit: 'us' },
    { what: 'p99 added by nginx', value: at('nginx', 'p99Us') - at('direct', 'p99Us'), unit: 'us' },
  ]);
}

measureRules();
const missing = ['wrk', 'nginx', 'taskset'].filter(
  (name) => !['/usr/bin', '/usr/sbin', '/usr/local/bin'].some((place) => existsSync(join(place, name))),
);
try {
  if (missing.length > 0) console.error(`bench l7: requests not measured, needs ${missing.join(', ')}`);
  else await measureWrk();
} finally {
  for (const child of started) child.kill('SIGTERM');
  rmSync(folder, { recursive: true, force: true });
}
