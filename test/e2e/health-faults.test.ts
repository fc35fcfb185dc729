import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { agentClient } from '../../src/lab/agent-process.ts';
import { execIn } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { waitFor } from '../../src/lab/processes.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

/** From one probe of a host to the next, by ICMP and by HTTP; the sizes of packets come every tenth time. */
const ROUND_MS = 1000;
const SLOW_ROUND_MS = 10 * ROUND_MS;
/** What a busy machine may add before the test fails; how long it took is printed. */
const SPARE_MS = 30_000;
const HEAL_MS = 60_000;
/** Trials of each fault: 3 in every run, CILIATE_HEALTH_TRIALS=20 at night. */
const TRIALS = Number(process.env.CILIATE_HEALTH_TRIALS ?? '3');

interface Verdict {
  readonly fault: string;
  readonly place: {
    readonly kind: string;
    readonly node?: string;
    readonly from?: string;
    readonly to?: string;
  };
  readonly kinds: readonly string[];
  readonly 'loss-point'?: { readonly node: string; readonly hook: string; readonly reason?: string };
}
interface Diagnosis {
  readonly state: string;
  readonly verdicts: readonly Verdict[];
}

interface Fault {
  readonly name: string;
  readonly inject: () => Promise<unknown>;
  readonly heal: () => Promise<unknown>;
  /** What the verdict must be, and where; none of another fault may stand beside it. */
  readonly fault: string;
  readonly where: string;
  readonly hook: RegExp | undefined;
  readonly reason: RegExp | undefined;
  readonly roundMs: number;
}

const placeText = ({ kind, node, from, to }: Verdict['place']): string =>
  [kind, ...[node, from, to].filter((name) => name !== undefined).sort()].join(' ');

describe('faults between three nodes with the real datapath', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;

  const get = <T>(node: string, path: string): Promise<T> =>
    new Promise((resolve, reject) => {
      const socketPath = lab.node(node).paths.healthSocket;
      request({ socketPath, path: `/v1beta/${path}`, timeout: 3000 }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString()) as T));
      })
        .on('error', reject)
        .end();
    });
  const diagnosis = (node: string): Promise<Diagnosis> => get<Diagnosis>(node, 'diagnosis');
  const on = async (node: string, ...argv: readonly string[]): Promise<void> => {
    const netns = node === 'fabric' ? lab.layout.fabricNetns : lab.node(node).netns;
    const result = await execIn(netns, argv);
    assert.equal(result.exitCode, 0, `${argv.join(' ')}: ${result.stderr}`);
  };
  const healthPid = (node: string): number =>
    Number(readFileSync(join(lab.node(node).paths.pidDir, 'health.pid'), 'utf8'));

  before(async () => {
    testLab = await startTestLab(3);
    lab = testLab.lab;
    await healthy('the cluster is well at the start');
  });
  after(() => testLab?.tearDown());

  const isWellAt = async (node: string): Promise<boolean> => {
    const paths = await get<readonly { readonly state: string }[]>(node, 'paths').catch(() => []);
    if (paths.length <= 20 || paths.some(({ state }) => state !== 'reachable')) return false;
    return isAbout((await diagnosis(node)).verdicts, undefined);
  };
  const healthy = (what: string): Promise<unknown> =>
    waitFor({ what, timeoutMs: HEAL_MS }, async () => {
      const isWell = await Promise.all(['node1', 'node2', 'node3'].map(isWellAt));
      return isWell.every(Boolean) || undefined;
    });

  /** Whether nothing is said but the fault: slowness is the machine's own, with three nodes on two cores. */
  const isAbout = (verdicts: readonly Verdict[], fault: string | undefined): boolean =>
    verdicts.every((verdict) => verdict.fault === fault || verdict.fault === 'slow');

  const ROUTE = ['unreachable', '172.30.0.2/32'];
  const LABELS = 'k8s:test=health-faults';
  const DENY = {
    endpointSelector: { matchLabels: { 'reserved:health': '' } },
    ingressDeny: [{ fromEntities: ['all'], icmps: [{ fields: [{ family: 'IPv4', type: 8 }] }] }],
    labels: [LABELS],
  };
  /** A node that lets in what its agents say to each other, but for echoes. */
  const NO_ECHOES_IN = {
    nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'node2' } },
    ingress: [
      { fromEntities: ['remote-node', 'health'], toPorts: [{ ports: [{ port: '4240', protocol: 'TCP' }] }] },
    ],
    labels: [LABELS],
  };
  /** A queue in which no packet has room: what the fabric sends to node 2 is dropped, what comes from it passes. */
  const NO_ROOM = ['dev', 'node2', 'root', 'tbf', 'rate', '1kbit', 'burst', '1', 'limit', '1'];
  /** What a firewall of a cloud does, in classic BPF: echo requests to node 2 go nowhere, all else passes. */
  const NO_ECHOES = [
    ...['40 0 0 12', '21 0 2 2048', '48 0 0 23', '21 5 6 1'],
    ...['21 0 5 34525', '48 0 0 20', '21 0 3 58', '48 0 0 54', '21 0 1 128'],
    ...['6 0 0 2', '6 0 0 4294967295'],
  ];
  /** The same of UDP to port 4240: the echoes of programs go nowhere, those of kernels pass. */
  const NO_PROGRAM_ECHOES = [
    ...['40 0 0 12', '21 0 4 2048', '48 0 0 23', '21 0 8 17', '40 0 0 36', '5 0 0 4'],
    ...['21 0 5 34525', '48 0 0 20', '21 0 3 17', '40 0 0 56', '21 0 1 4240'],
    ...['6 0 0 2', '6 0 0 4294967295'],
  ];
  const setFilter = (code: readonly string[]) => async (): Promise<void> => {
    const bytecode = `${code.length},${code.join(',')}`;
    await on('fabric', 'tc', 'qdisc', 'add', 'dev', 'node2', 'clsact');
    const filter = ['filter', 'add', 'dev', 'node2', 'egress', 'bpf', 'da', 'bytecode', bytecode];
    await on('fabric', 'tc', ...filter);
  };
  /** What a bridge does with frames that are too long for a port: it drops them, and says nothing. */
  const setPortMtu = (bytes: number) => () =>
    on('fabric', 'ip', 'link', 'set', 'dev', 'node2', 'mtu', `${bytes}`);
  /** Nothing above the programs of a device answers any more. */
  const setStack = (hangs: boolean) => async (): Promise<void> => {
    await on('node2', 'sysctl', '-qw', `net.ipv4.icmp_echo_ignore_all=${hangs ? 1 : 0}`);
    await on('node2', 'sysctl', '-qw', `net.ipv6.icmp.echo_ignore_all=${hangs ? 1 : 0}`);
    await signal(hangs ? 'SIGSTOP' : 'SIGCONT')();
  };
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => async () => process.kill(healthPid('node2'), name);

  const faults: readonly Fault[] = [
    {
      name: 'a policy that denies',
      inject: () => agentClient(lab.node('node2')).putPolicy(JSON.stringify([DENY])),
      heal: () => agentClient(lab.node('node2')).deletePolicy([LABELS]),
      ...{
        fault: 'policy-drop',
        where: 'node node2',
        hook: /^node2 from_netdev$/,
        reason: /^Policy denied/,
        roundMs: ROUND_MS,
      },
    },
    {
      name: 'a policy of the node that denies echoes',
      inject: () => agentClient(lab.node('node2')).putPolicy(JSON.stringify([NO_ECHOES_IN])),
      heal: () => agentClient(lab.node('node2')).deletePolicy([LABELS]),
      ...{
        fault: 'policy-drop',
        where: 'node node2',
        hook: /^node2 to_host$/,
        reason: /^Policy denied/,
        roundMs: ROUND_MS,
      },
    },
    {
      name: 'a missing route',
      inject: () => on('node1', 'ip', 'route', 'add', ...ROUTE),
      heal: () => on('node1', 'ip', 'route', 'del', ...ROUTE),
      ...{
        fault: 'route-missing',
        where: 'pair node1 node2',
        hook: /^node1 socket$/,
        reason: /^EHOSTUNREACH: no route$/,
        roundMs: ROUND_MS,
      },
    },
    {
      name: 'a network that drops what is sent to a node',
      inject: () => on('fabric', 'tc', 'qdisc', 'replace', ...NO_ROOM),
      heal: () => on('fabric', 'tc', 'qdisc', 'del', 'dev', 'node2', 'root'),
      ...{
        fault: 'nic-drop',
        where: 'node node2',
        hook: /^node[13] stamp$/,
        reason: /never came to the peer$/,
        roundMs: ROUND_MS,
      },
    },
    {
      name: 'a network that lets no echoes pass',
      inject: setFilter(NO_ECHOES),
      heal: () => on('fabric', 'tc', 'qdisc', 'del', 'dev', 'node2', 'clsact'),
      ...{
        fault: 'icmp-filtered',
        where: 'node node2',
        hook: undefined,
        reason: undefined,
        roundMs: ROUND_MS,
      },
    },
    {
      name: 'a network that lets no echoes of programs pass',
      inject: setFilter(NO_PROGRAM_ECHOES),
      heal: () => on('fabric', 'tc', 'qdisc', 'del', 'dev', 'node2', 'clsact'),
      ...{
        fault: 'echo-filtered',
        where: 'node node2',
        hook: undefined,
        reason: undefined,
        roundMs: SLOW_ROUND_MS,
      },
    },
    {
      name: 'a stack that hangs',
      inject: setStack(true),
      heal: setStack(false),
      ...{ fault: 'stack-hung', where: 'node node2', hook: undefined, reason: undefined, roundMs: ROUND_MS },
    },
    {
      name: 'a network that swallows long packets',
      inject: setPortMtu(1400),
      heal: setPortMtu(1500),
      ...{
        fault: 'mtu-black-hole',
        where: 'node node2',
        hook: undefined,
        reason: undefined,
        roundMs: SLOW_ROUND_MS,
      },
    },
    {
      name: 'a hung agent',
      inject: signal('SIGSTOP'),
      heal: signal('SIGCONT'),
      ...{ fault: 'agent-hung', where: 'node node2', hook: undefined, reason: undefined, roundMs: ROUND_MS },
    },
  ];

  for (const fault of faults)
    it(`name ${fault.name}, with the reason, ${TRIALS} times of ${TRIALS}`, async (t) => {
      for (let trial = 1; trial <= TRIALS; trial++) {
        const begun = performance.now();
        await fault.inject();
        try {
          const said = new Map<string, number>();
          const found = await waitFor(
            { what: fault.fault, timeoutMs: 2 * fault.roundMs + SPARE_MS },
            async () => {
              const { verdicts } = await diagnosis('node1');
              const text = verdicts.map(({ fault, place }) => `${fault} ${placeText(place)}`).join(', ');
              said.set(text, said.get(text) ?? Math.round(performance.now() - begun));
              const found = verdicts.find(
                (verdict) => verdict.fault === fault.fault && placeText(verdict.place) === fault.where,
              );
              return isAbout(verdicts, fault.fault) ? found : undefined;
            },
          ).catch((error: unknown) => {
            throw new Error(`trial ${trial}: ${JSON.stringify([...said])}`, { cause: error });
          });
          const after = Math.round(performance.now() - begun);
          const history = [...said].map(([text, ms]) => `${ms} ms: ${text}`);
          t.diagnostic(`trial ${trial}: after ${after} ms; ${history.join('; ')}`);
          const point = found['loss-point'];
          if (fault.hook === undefined || fault.reason === undefined) assert.equal(point, undefined);
          else {
            assert.match(`${point?.node} ${point?.hook}`, fault.hook);
            assert.match(point?.reason ?? '', fault.reason);
          }
        } finally {
          await fault.heal();
        }
        await healthy(`all is well again after trial ${trial}`);
      }
    });
});
