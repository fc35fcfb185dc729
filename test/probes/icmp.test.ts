import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { IcmpProberOptions } from '../../probes/icmp/index.ts';
import type { ProbeCounters } from '../../probes/types.ts';
import { run, runChecked } from '../../src/base/run.ts';
import { NetnsLab } from '../support/netns.ts';
import { asNobody, rootOrSkip } from '../support/privilege.ts';
import { type StartedProcess, startProcess } from '../support/process.ts';

interface Answer {
  readonly modes: Readonly<
    Record<string, { readonly ready: boolean; readonly mode?: string; readonly reason?: string }>
  >;
  readonly events: readonly {
    readonly outcome: string;
    readonly latencyNs: number | null;
    readonly stamped: boolean;
    readonly error?: { readonly type?: number; readonly mtu: number; readonly offender?: string };
  }[];
  readonly counters: ProbeCounters;
  readonly wallNs: number;
}

const CHILD = join(import.meta.dirname, 'icmp-child.ts');

describe('ICMP probes between namespaces', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('i');
  const folder = mkdtempSync(join(tmpdir(), 'icmp-'));
  let [here, there] = ['', ''];
  let liar: StartedProcess | undefined;

  before(async () => {
    here = await lab.namespace('a');
    there = await lab.namespace('b');
    await lab.veth(
      { name: 'eth0', netns: here, addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { name: 'eth0', netns: there, addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    );
    // 10.2/24 is answered by the liar, 10.3/24 is refused by a router, 10.4/24 lies behind a narrow link.
    await lab.sysctl(there, 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0');
    const veth = ['via', '10.1.0.2'];
    for (const range of ['10.2.0.0/24', '10.3.0.0/24', '10.4.0.0/24']) {
      await lab.ip('-n', here, 'route', 'add', range, ...veth);
    }
    await lab.ip('-n', there, 'route', 'add', 'unreachable', '10.3.0.0/24');
    await lab.ip(
      '-n',
      there,
      'link',
      'add',
      'narrow',
      'mtu',
      '1000',
      'type',
      'veth',
      'peer',
      'name',
      'narrow1',
    );
    await lab.ip('-n', there, 'link', 'set', 'narrow1', 'up');
    await lab.ip('-n', there, 'link', 'set', 'narrow', 'up');
    await lab.ip('-n', there, 'route', 'add', '10.4.0.0/24', 'dev', 'narrow');
  });

  after(async () => {
    await liar?.stop();
    await lab.cleanUp();
    rmSync(folder, { recursive: true, force: true });
  });

  async function probe(
    address: string,
    task: { count?: number; options?: IcmpProberOptions; blockMs?: number; lingerMs?: number } = {},
    as: (argv: readonly string[]) => readonly string[] = (argv) => argv,
  ): Promise<Answer> {
    const argv = [process.execPath, CHILD, JSON.stringify({ address, ...task })];
    const { stdout, stderr } = await lab.exec(here, as(argv));
    assert.notEqual(String(stdout), '', String(stderr));
    return JSON.parse(String(stdout)) as Answer;
  }

  /** Starts the liar in a namespace of its own: its kernel does not answer pings. */
  async function startLiar(): Promise<void> {
    if (liar !== undefined) return;
    const program = join(folder, 'liar');
    await runChecked(['cc', '-O1', '-o', program, join(import.meta.dirname, 'liar.c')], {
      timeoutMs: 60_000,
    });
    const ns = await lab.namespace('c');
    await lab.veth(
      { name: 'eth1', netns: there, addresses: ['10.5.0.1/24'] },
      { name: 'eth0', netns: ns, addresses: ['10.5.0.2/24'] },
    );
    await lab.ip('-n', there, 'route', 'add', '10.2.0.0/24', 'via', '10.5.0.2');
    await lab.ip('-n', ns, 'route', 'add', 'default', 'via', '10.5.0.1');
    await lab.ip('-n', ns, 'route', 'add', 'local', '10.2.0.0/24', 'dev', 'lo');
    await lab.sysctl(ns, 'net.ipv4.icmp_echo_ignore_all=1');
    liar = await startProcess(['nsenter', `--net=${lab.path(ns)}`, program]);
    await liar.waitForLine(/ready/);
  }

  for (const address of ['10.1.0.2', 'fd01::2']) {
    it(`measures ${address} from kernel stamp to kernel stamp`, async () => {
      const { events, wallNs, modes, counters } = await probe(address, { count: 20 });
      assert.equal(modes[address.includes(':') ? 6 : 4]?.mode, 'raw');
      assert.deepEqual(new Set(events.map(({ outcome }) => outcome)), new Set(['reply']));
      assert.equal(events.length, 20);
      for (const { latencyNs, stamped } of events) {
        assert.ok(stamped, 'a stamp is missing');
        assert.ok(latencyNs !== null && latencyNs > 0 && latencyNs < wallNs, `${latencyNs} of ${wallNs} ns`);
      }
      assert.deepEqual([counters.sent, counters.replies, counters.lost, counters.ownDrops], [20, 20, 0, 0]);
    });
  }

  it('gives the same answers over a datagram socket without privilege', async () => {
    await lab.sysctl(here, 'net.ipv4.ping_group_range=0 70000');
    for (const address of ['10.1.0.2', 'fd01::2']) {
      const { modes, events } = await probe(address, { count: 5 }, asNobody);
      assert.equal(modes[4]?.mode, 'datagram');
      assert.deepEqual(
        events.map(({ outcome, stamped }) => `${outcome} ${stamped}`),
        Array(5).fill('reply true'),
      );
    }
  });

  it('says why, and probes nothing, where neither socket is permitted', async () => {
    await lab.sysctl(here, 'net.ipv4.ping_group_range=1 0');
    const { modes, counters } = await probe('10.1.0.2', {}, asNobody);
    assert.equal(modes[4]?.ready, false);
    assert.match(modes[4]?.reason ?? '', /EACCES|EPERM/);
    assert.equal(counters.sent, 0);
  });

  it('tells what a router said about an unreachable target', async () => {
    const { events } = await probe('10.3.0.9');
    assert.equal(events[0]?.outcome, 'icmpError');
    assert.equal(events[0]?.error?.type, 3);
    assert.equal(events[0]?.error?.offender, '10.1.0.2');
  });

  it('tells the MTU of a narrow link when packets may not be fragmented', async () => {
    const { events } = await probe('10.4.0.9', { options: { payloadBytes: 1300, dontFragment: true } });
    assert.equal(events[0]?.outcome, 'icmpError');
    assert.equal(events[0]?.error?.mtu, 1000);
  });

  it('ends a probe without a route at once', async () => {
    const { events } = await probe('203.0.113.9');
    assert.equal(events[0]?.outcome, 'sendFailed');
  });

  it('counts what its own receive buffer dropped apart from loss on the path', async () => {
    const options = { receiveBufferBytes: 1, timeoutMs: 200, gatherMs: 50 };
    const { counters } = await probe('10.1.0.2', { count: 64, options });
    assert.ok(counters.ownDrops > 0, 'nothing was dropped');
    assert.ok(counters.lost >= counters.ownDrops, `${counters.lost} lost, ${counters.ownDrops} dropped here`);
    assert.equal(counters.replies + counters.lost, 64);
  });

  it('loses nothing of a thousand probes in a row', async () => {
    const { counters } = await probe('10.1.0.2', { count: 1000 });
    assert.deepEqual(
      [counters.replies, counters.lost, counters.ownDrops, counters.duplicate],
      [1000, 0, 0, 0],
    );
  });

  it('opens its sockets inside the namespace it is given', async () => {
    const task = { address: '10.1.0.2', options: { netns: lab.path(here), families: [4] } };
    const outcome = await run([process.execPath, CHILD, JSON.stringify(task)], { timeoutMs: 20_000 });
    const { events } = JSON.parse(String(outcome.stdout)) as Answer;
    assert.equal(events[0]?.outcome, 'reply');
  });

  describe('with a responder that lies', () => {
    const sorted = (answer: Answer): string => answer.events.map(({ outcome }) => outcome).join(' ');
    const options = { timeoutMs: 300 };

    before(startLiar);

    it('accepts the honest reply', async () => {
      assert.equal(sorted(await probe('10.2.0.1', { options })), 'reply');
    });

    it('counts the second reply as a duplicate', async () => {
      const answer = await probe('10.2.0.2', { options, lingerMs: 50 });
      assert.equal(sorted(answer), 'reply duplicate');
      assert.equal(answer.counters.replies, 1);
    });

    for (const [host, what, field] of [
      [3, 'cut short', 'corrupt'],
      [4, 'with a forged cookie', 'foreign'],
      [5, 'with a wrong checksum', 'corrupt'],
      [6, 'from an address that was not asked', 'foreign'],
      [9, 'with another filling', 'corrupt'],
      [10, 'cut within the cookie', 'corrupt'],
    ] as const) {
      it(`never takes a reply ${what} for an answer`, async () => {
        const answer = await probe(`10.2.0.${host}`, { options });
        assert.equal(sorted(answer), 'timeout');
        assert.equal(answer.counters[field], 1);
        assert.equal(answer.counters.replies, 0);
      });
    }

    it('takes an error that quotes 8 bytes for the probe that went where the quoted packet did, only', async () => {
      assert.equal(sorted(await probe('10.2.0.12', { options })), 'icmpError');
      assert.equal(sorted(await probe('10.2.0.13', { options })), 'timeout');
    });

    it('counts replies that overtook each other', async () => {
      const answer = await probe('10.2.0.7', { count: 2, options });
      assert.equal(sorted(answer), 'reply reply');
      assert.equal(answer.counters.reordered, 1);
    });

    it('counts a reply after the timeout as lost and late, never as a latency in time', async () => {
      const answer = await probe('10.2.0.8', { options: { timeoutMs: 10 }, lingerMs: 100 });
      assert.equal(sorted(answer), 'timeout late');
      assert.deepEqual([answer.counters.lost, answer.counters.late, answer.counters.replies], [1, 1, 0]);
    });

    it('is not deceived about time by a blocked event loop', async () => {
      const answer = await probe('10.2.0.8', { options: { timeoutMs: 150 }, blockMs: 400 });
      assert.equal(sorted(answer), 'reply');
      const latencyMs = (answer.events[0]?.latencyNs ?? 0) / 1e6;
      // The responder waits 30 ms; the reply was read 400 ms after it was asked for, past the timeout.
      assert.ok(latencyMs >= 29 && latencyMs < 150, `${latencyMs} ms`);
    });
  });
});
