import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { agentClient } from '../../src/lab/agent-process.ts';
import { execIn } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { FaultKind } from '../../src/model/health.ts';

/** A fault that is made and mended between node 2 and the others, and what must be said of it. */
export interface HealthFault {
  readonly name: string;
  readonly inject: () => Promise<unknown>;
  readonly heal: () => Promise<unknown>;
  /** What the verdict must be, and where; none of another fault may stand beside it. */
  readonly fault: FaultKind;
  readonly where: string;
  /** Node and hook at which packets were seen last, with the reason; without: there is none. */
  readonly lost?: { readonly hook: RegExp; readonly reason: RegExp };
  /** What may be said before, `FAULT PLACE`: nothing else may but slowness, which is the machine's own. */
  readonly before?: readonly string[];
  readonly roundMs: number;
  /** For how long nothing else must be said after it, in the first trial. */
  readonly lastsMs?: number;
}

/** From one probe of a host to the next, by ICMP and by HTTP; the sizes of packets come every tenth time. */
const ROUND_MS = 1000;
const SLOW_ROUND_MS = 10 * ROUND_MS;
/** A row that was not renewed for 20 s counts for nothing. */
const ROW_LASTS_MS = 20 * ROUND_MS;

const ROUTE = ['unreachable', '172.30.0.2/32'];
const LABELS = 'k8s:test=health-faults';
const icmpField = (type: number): object => ({ family: type === 8 ? 'IPv4' : 'IPv6', type });
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
/** One that lets in nothing of them: neither can it be asked why. */
const NOTHING_IN = {
  nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'node2' } },
  ingress: [
    { fromEntities: ['remote-node', 'health'], toPorts: [{ ports: [{ port: '22', protocol: 'TCP' }] }] },
  ],
  labels: [LABELS],
};
/** One that lets in all but requests to its agent. */
const NO_REQUESTS_IN = {
  nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'node2' } },
  ingress: [
    { fromEntities: ['all'], icmps: [{ fields: [8, 128].map((type) => icmpField(type)) }] },
    { fromEntities: ['all'], toPorts: [{ ports: [{ port: '4240', protocol: 'UDP' }] }] },
  ],
  labels: [LABELS],
};
/** A queue in which no packet has room: what the fabric sends to node 2 is dropped, what comes from it passes. */
const NO_ROOM = ['dev', 'node2', 'root', 'tbf', 'rate', '1kbit', 'burst', '1', 'limit', '1'];
/** What a firewall of a cloud does, in classic BPF: echo requests to node 2 go nowhere, all else passes. */
const NO_ECHOES = [
  ...['40 0 0 12', '21 0 4 2048', '48 0 0 23', '21 0 8 1', '48 0 0 34', '21 5 6 8'],
  ...['21 0 5 34525', '48 0 0 20', '21 0 3 58', '48 0 0 54', '21 0 1 128'],
  ...['6 0 0 2', '6 0 0 4294967295'],
];
/** The same of UDP to port 4240: the echoes of programs go nowhere, those of kernels pass. */
const NO_PROGRAM_ECHOES = [
  ...['40 0 0 12', '21 0 4 2048', '48 0 0 23', '21 0 8 17', '40 0 0 36', '5 0 0 4'],
  ...['21 0 5 34525', '48 0 0 20', '21 0 3 17', '40 0 0 56', '21 0 1 4240'],
  ...['6 0 0 2', '6 0 0 4294967295'],
];

/** Echo requests to node 2 and requests to its agent go nowhere, in classic BPF; its own answers and all else pass. */
const NO_ECHOES_NOR_REQUESTS = [
  ...['40 0 0 12', '21 0 7 2048', '48 0 0 23', '21 0 2 1', '48 0 0 34', '21 11 12 8'],
  ...['21 0 11 6', '40 0 0 36', '21 8 9 4240'],
  ...['21 0 8 34525', '48 0 0 20', '21 0 2 58', '48 0 0 54', '21 3 4 128'],
  ...['21 0 3 6', '40 0 0 56', '21 0 1 4240'],
  ...['6 0 0 2', '6 0 0 4294967295'],
];
/** By its pulls node 2 hears that others miss it, and tells that it lives. */
const HEARD_ROUND_MS = 3 * ROUND_MS;

/** @param lab the lab of three nodes, once it runs */
export function healthFaults(lab: () => Lab): readonly HealthFault[] {
  const on = async (node: string, ...argv: readonly string[]): Promise<void> => {
    const netns = node === 'fabric' ? lab().layout.fabricNetns : lab().node(node).netns;
    const result = await execIn(netns, argv);
    assert.equal(result.exitCode, 0, `${argv.join(' ')}: ${result.stderr}`);
  };
  const node2 = (): ReturnType<typeof agentClient> => agentClient(lab().node('node2'));
  const policy = (rule: object): Pick<HealthFault, 'inject' | 'heal'> => ({
    inject: () => node2().putPolicy(JSON.stringify([rule])),
    heal: () => node2().deletePolicy([LABELS]),
  });
  /** A hung stack would take nothing back of what node 2 says of itself, which it does when it has dropped nothing for 2 s. */
  const policyOfNode = (rule: object): Pick<HealthFault, 'inject' | 'heal'> => ({
    inject: policy(rule).inject,
    heal: async () => {
      await policy(rule).heal();
      await delay(2.5 * ROUND_MS);
    },
  });
  const filter = (code: readonly string[]): Pick<HealthFault, 'inject' | 'heal'> => ({
    inject: async () => {
      const bytecode = `${code.length},${code.join(',')}`;
      await on('fabric', 'tc', 'qdisc', 'add', 'dev', 'node2', 'clsact');
      await on(
        'fabric',
        'tc',
        ...['filter', 'add', 'dev', 'node2', 'egress', 'bpf', 'da', 'bytecode', bytecode],
      );
    },
    heal: () => on('fabric', 'tc', 'qdisc', 'del', 'dev', 'node2', 'clsact'),
  });
  /** What a bridge does with frames that are too long for a port: it drops them, and says nothing. */
  const setPortMtu = (bytes: number) => () =>
    on('fabric', 'ip', 'link', 'set', 'dev', 'node2', 'mtu', `${bytes}`);
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => async () => {
    const pidFile = join(lab().node('node2').paths.pidDir, 'health.pid');
    process.kill(Number(readFileSync(pidFile, 'utf8')), name);
  };
  /**
   * Whom node 2 knows on its links it goes on to know: when answers to its questions for them are dropped, one after the other in
   * several trials, it can send nothing any more, and is down indeed.
   */
  const keepNeighbours = async (nud: 'permanent' | 'reachable'): Promise<void> => {
    const { stdout } = await execIn(lab().node('node2').netns, ['ip', '-json', 'neigh']);
    for (const { dst, dev, lladdr } of JSON.parse(stdout) as Partial<Record<string, string>>[]) {
      if (dst === undefined || dev === undefined || lladdr === undefined) continue;
      await on('node2', 'ip', 'neigh', 'replace', dst, 'dev', dev, 'lladdr', lladdr, 'nud', nud);
    }
  };
  /** Nothing above the programs of a device answers any more. */
  const setStack = (hangs: boolean) => async (): Promise<void> => {
    await on('node2', 'sysctl', '-qw', `net.ipv4.icmp_echo_ignore_all=${hangs ? 1 : 0}`);
    await on('node2', 'sysctl', '-qw', `net.ipv6.icmp.echo_ignore_all=${hangs ? 1 : 0}`);
    await signal(hangs ? 'SIGSTOP' : 'SIGCONT')();
  };

  return [
    {
      name: 'a policy that denies',
      ...policy(DENY),
      fault: 'policy-drop',
      where: 'node node2',
      lost: { hook: /^node2 from_netdev$/, reason: /^Policy denied/ },
      roundMs: ROUND_MS,
    },
    {
      name: 'a policy of the node that denies echoes',
      ...policyOfNode(NO_ECHOES_IN),
      fault: 'policy-drop',
      where: 'node node2',
      lost: { hook: /^node2 to_host$/, reason: /^Policy denied/ },
      roundMs: ROUND_MS,
    },
    {
      name: 'a policy of the node that denies echoes and requests',
      ...policyOfNode(NOTHING_IN),
      fault: 'policy-drop',
      where: 'node node2',
      lost: { hook: /^node2 to_host$/, reason: /^Policy denied/ },
      roundMs: ROUND_MS,
      lastsMs: 1.5 * ROW_LASTS_MS,
    },
    {
      name: 'a policy of the node that denies requests',
      ...policyOfNode(NO_REQUESTS_IN),
      fault: 'http-filtered',
      where: 'node node2',
      before: ['agent-hung node node2'],
      roundMs: HEARD_ROUND_MS,
      lastsMs: 1.5 * ROW_LASTS_MS,
    },
    {
      name: 'a missing route',
      inject: () => on('node1', 'ip', 'route', 'add', ...ROUTE),
      heal: () => on('node1', 'ip', 'route', 'del', ...ROUTE),
      fault: 'route-missing',
      where: 'pair node1 node2',
      lost: { hook: /^node1 socket$/, reason: /^EHOSTUNREACH: no route$/ },
      roundMs: ROUND_MS,
    },
    {
      name: 'a network that drops what is sent to a node',
      inject: async () => {
        await keepNeighbours('permanent');
        await on('fabric', 'tc', 'qdisc', 'replace', ...NO_ROOM);
      },
      heal: async () => {
        await on('fabric', 'tc', 'qdisc', 'del', 'dev', 'node2', 'root');
        await keepNeighbours('reachable');
      },
      fault: 'nic-drop',
      where: 'node node2',
      lost: { hook: /^node[13] stamp$/, reason: /never came to the peer$/ },
      before: ['node-down node node2'],
      roundMs: ROUND_MS,
    },
    {
      name: 'a network that lets no echoes pass',
      ...filter(NO_ECHOES),
      fault: 'icmp-filtered',
      where: 'node node2',
      roundMs: ROUND_MS,
    },
    {
      name: 'a network that lets no echoes of programs pass',
      ...filter(NO_PROGRAM_ECHOES),
      fault: 'echo-filtered',
      where: 'node node2',
      roundMs: SLOW_ROUND_MS,
    },
    {
      name: 'a network that lets neither echoes nor requests pass',
      ...filter(NO_ECHOES_NOR_REQUESTS),
      fault: 'http-filtered',
      where: 'node node2',
      before: ['stack-hung node node2'],
      roundMs: HEARD_ROUND_MS,
      lastsMs: 1.5 * ROW_LASTS_MS,
    },
    {
      name: 'a stack that hangs',
      inject: setStack(true),
      heal: setStack(false),
      fault: 'stack-hung',
      where: 'node node2',
      roundMs: ROUND_MS,
    },
    {
      name: 'a network that swallows long packets',
      inject: setPortMtu(1400),
      heal: setPortMtu(1500),
      fault: 'mtu-black-hole',
      where: 'node node2',
      roundMs: SLOW_ROUND_MS,
    },
    {
      name: 'a hung agent',
      inject: signal('SIGSTOP'),
      heal: signal('SIGCONT'),
      fault: 'agent-hung',
      where: 'node node2',
      roundMs: ROUND_MS,
    },
    {
      name: 'a node off the network',
      inject: () => on('fabric', 'ip', 'link', 'set', 'dev', 'node2', 'down'),
      heal: () => on('fabric', 'ip', 'link', 'set', 'dev', 'node2', 'up'),
      fault: 'node-down',
      where: 'node node2',
      roundMs: ROUND_MS,
    },
  ];
}
