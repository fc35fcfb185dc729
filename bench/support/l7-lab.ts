/**
 * The network of bench/l7.ts: a client's pod, a server's pod and their node, each in a network namespace, with the real
 * datapath on the node. The server has a port for each way to it: policy allows one, redirects another to the proxy and
 * a third to a pipe that reads nothing; nginx listens at the node and goes to the first.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProxyClient } from '../../src/agent/proxy-client.ts';
import { SystemError } from '../../src/base/errors.ts';
import { silentLog } from '../../src/base/log.ts';
import { nodePaths } from '../../src/base/paths.ts';
import { run, runChecked } from '../../src/base/run.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import type { HttpRule, L7Filter } from '../../src/model/l7.ts';
import { EMPTY_MAP_STATE } from '../../src/model/map-state.ts';
import { PROXY_MARK } from '../../src/model/proxy-protocol.ts';
import { allow, DatapathLab, NODE4, type Pod, redirect, stateOf } from '../../test/support/datapath-lab.ts';
import { cpuMs, NICELY } from './load.ts';

const CLIENT = 1000;
const SERVER = 2000;
const TCP = 6;
const PORTS = { direct: 8080, proxy: 8081, pipe: 8082, nginx: 8090 } as const;
const LISTENERS = { proxy: 15_001, pipe: 15_002 } as const;
/** Core of each proxy; client, server and agent have the other one. */
export const PROXY_CORE = 0;
export const OTHER_CORE = 1;
const BODY = 'x'.repeat(128);
const SUPPORT = import.meta.dirname;

/** A way from client to server. */
export type Way = keyof typeof PORTS;
export const WAYS = Object.keys(PORTS) as readonly Way[];

const FILTER: L7Filter = {
  ...{ protocol: TCP, firstPort: PORTS.proxy, lastPort: PORTS.proxy, peers: [CLIENT] },
  ...{ ruleId: 1, ruleName: 'bench/rule' },
  l7: {
    kind: 'http',
    rules: [{ path: '/v1/.*', method: 'GET', host: undefined, headers: [], headerMatches: [] }],
  },
};

export class L7Lab {
  readonly #lab = new DatapathLab('l');
  readonly #folder = mkdtempSync(join(tmpdir(), 'ciliate-l7-'));
  readonly #children = new Map<string, ChildProcess>();
  #agent: ProxyClient | undefined;
  #client!: Pod;
  #server!: Pod;
  /** Access log records that the agent has got. */
  records = 0;

  async start(): Promise<void> {
    await this.#lab.start();
    this.#client = await this.#lab.pod(10, CLIENT);
    this.#server = await this.#lab.pod(11, SERVER);
    await this.#enforce();
    const listen = [PORTS.direct, PORTS.proxy, PORTS.pipe].map((port) => `listen ${port};`).join(' ');
    const answer = `server { ${listen} location / { return 200 "${BODY}"; } }`;
    this.#startNginx('origin', this.#server.namespace, OTHER_CORE, answer);
    this.#startNginx('nginx', this.#lab.node, PROXY_CORE, this.#plainProxy());
    this.#startChild('pipe', 'l7-pipe-child.ts', []);
    await this.#startProxy();
    for (const way of WAYS) await this.#reachable(way);
  }

  async #enforce(): Promise<void> {
    const { datapath } = this.#lab;
    for (const { endpoint } of [this.#client, this.#server]) await datapath.attachEndpoint(endpoint);
    const open = { ingress: false, egress: false };
    await datapath.applyPolicy(this.#client.endpoint.id, EMPTY_MAP_STATE, open);
    const state = stateOf([
      allow('ingress', CLIENT, TCP, PORTS.direct),
      allow('ingress', ReservedIdentity.host, TCP, PORTS.direct),
      redirect('ingress', CLIENT, TCP, PORTS.proxy, LISTENERS.proxy),
      redirect('ingress', CLIENT, TCP, PORTS.pipe, LISTENERS.pipe),
    ]);
    await datapath.applyPolicy(this.#server.endpoint.id, state, { ...open, ingress: true });
  }

  #plainProxy(): string {
    const headers = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;';
    return `upstream origin { server ${this.#server.ipv4}:${PORTS.direct}; keepalive 64; }
      server { listen ${NODE4}:${PORTS.nginx}; location / { proxy_pass http://origin; ${headers} } }`;
  }

  #startNginx(name: string, netns: string, core: number, servers: string): void {
    const file = join(this.#folder, `${name}.conf`);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (kind) => `${kind}_temp_path ${this.#folder}/${name}-${kind};`,
    );
    writeFileSync(
      file,
      `worker_processes 1; daemon off; master_process off; pid ${this.#folder}/${name}.pid; error_log /dev/null;
       events { worker_connections 1024; }
       http { access_log off; keepalive_requests 1000000000; ${temporary.join(' ')} ${servers} }\n`,
    );
    this.#spawn(name, netns, core, ['nginx', '-c', file, '-p', this.#folder]);
  }

  #spawn(
    name: string,
    netns: string,
    core: number,
    argv: readonly string[],
    fds: readonly number[] = [],
  ): void {
    const within = [
      `--net=${this.#lab.net.path(netns)}`,
      '--',
      ...NICELY,
      'taskset',
      '-c',
      String(core),
      ...argv,
    ];
    this.#children.set(name, spawn('nsenter', within, { stdio: ['ignore', 'ignore', 'inherit', ...fds] }));
  }

  /** A proxy around a transparent listener, descriptor 3, and what else it inherits. */
  #startChild(name: 'proxy' | 'pipe', file: string, inherited: readonly number[], ...words: string[]): void {
    const fd = loadSockets().openSocket({
      ...{ family: 4, type: 'stream', listen: 511, transparent: true, mark: PROXY_MARK },
      bind: { address: '127.0.0.1', port: LISTENERS[name] },
      netns: this.#lab.net.path(this.#lab.node),
    });
    const argv = [process.execPath, ...profiling(name), join(SUPPORT, file), ...words];
    this.#spawn(name, this.#lab.node, PROXY_CORE, argv, [fd, ...inherited]);
    for (const own of [fd, ...inherited]) closeSync(own);
  }

  async #startProxy(): Promise<void> {
    const conntrack = this.#lab.datapath.openConntrack?.();
    if (conntrack === undefined) throw new SystemError('the datapath has no conntrack');
    this.#startChild(
      'proxy',
      'l7-proxy-child.ts',
      [conntrack.ipv4, conntrack.ipv6, conntrack.epochs],
      this.#folder,
    );
    this.#agent = new ProxyClient(nodePaths(this.#folder).proxySocket, {
      log: silentLog,
      onRecords: ({ length }) => {
        this.records += length;
      },
      onLost: () => undefined,
      onCounters: () => undefined,
      onObservation: () => undefined,
    });
    this.#agent.start();
    const { ipv4 } = this.#server;
    await this.#agent.push(
      { revision: 1, subjects: [{ subject: SERVER, ingress: [FILTER], egress: undefined }] },
      [{ endpoint: 11, identity: SERVER, addresses: [ipv4] }],
    );
  }

  /** Has the proxy judge by these rules from now on. */
  async setRules(rules: readonly HttpRule[]): Promise<void> {
    const filter: L7Filter = { ...FILTER, l7: { kind: 'http', rules } };
    await this.#agent?.push(
      { revision: 2, subjects: [{ subject: SERVER, ingress: [filter], egress: undefined }] },
      [{ endpoint: 11, identity: SERVER, addresses: [this.#server.ipv4] }],
    );
  }

  async #reachable(way: Way): Promise<void> {
    for (let attempt = 0; attempt < 100; attempt++) {
      const argv = ['curl', '-sf', '-o', '/dev/null', '--max-time', '2', this.url(way)];
      if ((await run(this.within(argv))).exitCode === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new SystemError(`no answer by way of ${way}`);
  }

  url(way: Way): string {
    return `http://${way === 'nginx' ? NODE4 : this.#server.ipv4}:${PORTS[way]}/v1/a`;
  }

  /** An argument list that runs in the client's pod, on the other core than the proxies. */
  within(argv: readonly string[]): readonly string[] {
    const netns = `--net=${this.#lab.net.path(this.#client.namespace)}`;
    return ['nsenter', netns, '--', ...NICELY, 'taskset', '-c', String(OTHER_CORE), ...argv];
  }

  /** Has the proxies run on another core from now on. */
  async moveProxies(core: number): Promise<void> {
    for (const name of ['proxy', 'pipe', 'nginx'])
      await runChecked(['taskset', '-acp', String(core), String(this.#children.get(name)?.pid)]);
  }

  /** CPU time that the proxy of a way has taken so far, all its threads, in milliseconds; 0 where there is none. */
  cpuMs(way: Way): number {
    const pid = this.#children.get(way)?.pid;
    return way === 'direct' || pid === undefined ? 0 : cpuMs(pid);
  }

  async cleanUp(): Promise<void> {
    this.#agent?.stop();
    for (const child of this.#children.values()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    }
    await this.#lab.cleanUp();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** `CILIATE_BENCH_PROFILE=FOLDER` has the Node proxies write CPU profiles there. */
function profiling(name: string): readonly string[] {
  const folder = process.env.CILIATE_BENCH_PROFILE;
  if (folder === undefined) return [];
  return ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}.cpuprofile`];
}

/** Programs that the bench needs and that are not there. */
export function missingPrograms(): readonly string[] {
  return ['wrk', 'nginx', 'taskset', 'curl', 'nsenter'].filter(
    (name) => !['/usr/bin', '/usr/sbin', '/usr/local/bin'].some((place) => existsSync(join(place, name))),
  );
}
