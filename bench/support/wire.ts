import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

const LINE =
  /^(\d+)\.(\d{9}) IP ([\d.]+) > ([\d.]+): ICMP echo (request|reply), id (\d+), seq (\d+), length (\d+)/;
/** Until a capture that listens has its ring. */
const SETTLE_MS = 500;
/** Until what is in it was read, also where all cores are busy. */
const DRAIN_MS = 2500;

/** An echo on the wire: `address seq`, and the time from the request to its reply, ns. */
export type Echoes = ReadonlyMap<string, number>;

/** tcpdump with stamps of ns on a device, of ICMP echoes. */
export class WireCapture {
  readonly #dump: ChildProcess;
  #text = '';

  private constructor(dump: ChildProcess) {
    this.#dump = dump;
    dump.stdout?.on('data', (chunk) => (this.#text += String(chunk)));
  }

  static async start(netns: string, device: string): Promise<WireCapture> {
    const words = ['-i', device, '-nn', '-tt', '--nano', '-s', '64', '-B', '16384', 'icmp'];
    const dump = spawn('nsenter', [`--net=${netns}`, 'tcpdump', ...words]);
    const capture = new WireCapture(dump);
    await once(dump.stderr, 'data');
    await delay(SETTLE_MS);
    return capture;
  }

  /** Of the requests that were seen with their replies. */
  async echoes(): Promise<Echoes> {
    await delay(DRAIN_MS);
    await this.stop();
    const requests = new Map<string, bigint>();
    const echoes = new Map<string, number>();
    for (const line of this.#text.split('\n')) {
      const [, seconds = '', fraction = '', from, to, kind, id, seq] = LINE.exec(line) ?? [];
      if (kind === undefined) continue;
      const ns = BigInt(seconds) * 1_000_000_000n + BigInt(fraction);
      const peer = kind === 'request' ? to : from;
      const key = `${peer} ${id} ${seq}`;
      const sent = requests.get(key);
      if (kind === 'request') requests.set(key, ns);
      else if (sent !== undefined) echoes.set(`${peer} ${seq}`, Number(ns - sent));
    }
    return echoes;
  }

  /** May be called twice. */
  async stop(): Promise<void> {
    if (this.#dump.exitCode !== null || this.#dump.signalCode !== null) return;
    this.#dump.kill('SIGINT');
    await once(this.#dump, 'close');
  }
}
