import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SystemError } from '../../src/base/errors.ts';
import { runChecked } from '../../src/base/run.ts';
import { cpuMs } from './load.ts';

const PROGRAM = '/usr/bin/prometheus-blackbox-exporter';
const PORT = 9115;
const START_MS = 10_000;
const LOOK_MS = 100;
const LIMIT_MS = 120_000;
const CONFIG = {
  modules: { icmp: { prober: 'icmp', timeout: '1s', icmp: { preferred_ip_protocol: 'ip4' } } },
};

/** The blackbox exporter in a namespace, asked for one ICMP probe after the other on one connection, as Prometheus would. */
export class Blackbox {
  readonly #folder = mkdtempSync(join(tmpdir(), 'bench-blackbox-'));
  readonly #netns: string;
  #exporter: ChildProcess | undefined;

  /** @param netns path */
  constructor(netns: string) {
    this.#netns = netns;
  }

  static get isThere(): boolean {
    return existsSync(PROGRAM) && existsSync('/usr/bin/curl');
  }

  async start(): Promise<void> {
    const config = join(this.#folder, 'blackbox.yml');
    writeFileSync(config, JSON.stringify(CONFIG));
    const words = [`--config.file=${config}`, `--web.listen-address=127.0.0.1:${PORT}`, '--log.level=error'];
    this.#exporter = spawn('nsenter', [`--net=${this.#netns}`, PROGRAM, ...words], { stdio: 'ignore' });
    for (let ms = 0; ms < START_MS; ms += LOOK_MS) {
      await delay(LOOK_MS);
      if ((await this.#ask('10.77.0.0').catch(() => '')).includes('probe_success 1')) return;
    }
    throw new SystemError('the blackbox exporter does not probe', { code: 'BENCH_BLACKBOX' });
  }

  /** @param targets as curl expands them: `10.77.[0-3].[0-249]` */
  #ask(targets: string, ...words: readonly string[]): Promise<string> {
    const url = `http://127.0.0.1:${PORT}/probe?module=icmp&target=${targets}`;
    return runChecked(['nsenter', `--net=${this.#netns}`, 'curl', '-sS', ...words, url], {
      timeoutMs: LIMIT_MS,
    });
  }

  /** CPU of the exporter, us, along one probe of each target of 10.77.0.0 to 10.77.3.249. */
  async cpuUsOfThousand(): Promise<number> {
    const pid = this.#exporter?.pid ?? 0;
    const before = cpuMs(pid);
    await this.#ask('10.77.[0-3].[0-249]', '-o', '/dev/null');
    return (cpuMs(pid) - before) * 1000;
  }

  /** May be called twice. */
  async stop(): Promise<void> {
    const exporter = this.#exporter;
    this.#exporter = undefined;
    if (exporter !== undefined && exporter.exitCode === null) {
      exporter.kill('SIGKILL');
      await once(exporter, 'exit');
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
