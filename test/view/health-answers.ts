import type {
  HealthDiagnosis,
  HealthHistory,
  HealthMatrix,
  HealthMatrixNode,
  HealthMtu,
  HealthPair,
  HealthPathReport,
  HealthProbeReport,
} from '../../src/api/schema.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';

/** Answers of a health agent that layouts are tested with. */

export const NOW_MS = Date.UTC(2026, 0, 1, 12, 0, 0);
const at = '2026-01-01T12:00:00.000Z';

const ICMP = PROBE_KINDS.findIndex(({ name }) => name === 'host-host/icmp');
const HTTP = PROBE_KINDS.findIndex(({ name }) => name === 'host-host/http');
const CANARY = PROBE_KINDS.findIndex(({ name }) => name === 'policy-denied/http');

/** The word of a family in which ICMP, HTTP and the canary have these states (0..3). */
export function word(icmp: number, http: number, canary = 0): number {
  return ((icmp << (2 * ICMP)) | (http << (2 * HTTP)) | (canary << (2 * CANARY))) >>> 0;
}

export type CellOf = (
  from: number,
  to: number,
) => readonly [states4: number, rttNs: number, sent: number, lost: number] | undefined;

export function matrixOf(
  names: readonly string[],
  cellOf: CellOf,
  more: Partial<HealthMatrixNode>[] = [],
): HealthMatrix {
  const nodes = names.map((name, from) => {
    const cells = names.flatMap((_, to) => {
      const cell = from === to ? undefined : cellOf(from, to);
      return cell === undefined ? [] : [to, cell[0], 0, cell[1], cell[2], cell[3]];
    });
    return { name, 'age-ms': from === 0 ? 0 : 1500, at, incarnation: 1, version: 9, cells, ...more[from] };
  });
  return {
    self: names[0] ?? '',
    at,
    kinds: PROBE_KINDS.map(({ name }) => name),
    'cell-fields': ['peer', 'states-4', 'states-6', 'rtt-ns', 'sent', 'lost'],
    'nodes-id': '0123456789abcdef',
    nodes,
  };
}

/** n4 is dead and has no row; n2 loses a little of what it sends to n3; n5's ICMP is filtered for n1. */
export const sixNodes: HealthMatrix = matrixOf(
  ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'],
  (from, to) => {
    if (from === 3) return undefined;
    if (to === 3) return [word(3, 3), 0, 120, 120];
    if (from === 1 && to === 2) return [word(2, 1), 1_310_000, 120, 14];
    if (from === 0 && to === 4) return [word(3, 1), 410_000, 120, 60];
    if (from === 5 && to === 0) return [word(0, 0), 0, 0, 0];
    return [word(1, 1), 21_000 + 100_000 * ((from * 7 + to * 3) % 5), 120, 0];
  },
  [{}, {}, {}, { 'age-ms': undefined, cells: undefined }, { 'age-ms': 95_000 }, {}],
);

/** 400 nodes, each watched by 20; node-007 is dead and node-123 slow. */
export const manyNodes: HealthMatrix = matrixOf(
  Array.from({ length: 400 }, (_, i) => `node-${String(i).padStart(3, '0')}.rack${i % 8}.example.org`),
  (from, to) => {
    if ((to - from + 400) % 400 > 20) return undefined;
    if (to === 7 || from === 7) return [word(3, 3), 0, 60, 60];
    if (to === 123) return [word(2, 1), 34_000_000, 60, 0];
    return [word(1, 1), 180_000, 60, (from * to) % 97 === 0 ? 1 : 0];
  },
);

function path(kind: string, more: Partial<HealthPathReport> = {}): HealthPathReport {
  const known = PROBE_KINDS.find(({ name }) => name === kind);
  return {
    peer: 'n3',
    kind,
    'path-class': known?.pathClass ?? '',
    responder: known?.responder ?? 'icmp',
    expects: known?.expects ?? 'answer',
    family: 4,
    address: '10.0.0.3',
    primary: true,
    state: 'reachable',
    since: '2026-01-01T11:00:00.000Z',
    window: { 'span-ms': 60_000, sent: 60, answered: 60, late: 0, duplicate: 0, reordered: 0 },
    'last-probed': '2026-01-01T11:59:59.500Z',
    'black-hole': false,
    ...more,
  };
}

const full = { 'span-ms': 60_000, sent: 60, answered: 60, late: 0, duplicate: 0, reordered: 0 };

export const pair: HealthPair = {
  from: 'n2',
  to: 'n3',
  source: 'asked',
  paths: [
    path('host-host/echo', {
      window: {
        ...full,
        'rtt-ns': { min: 19_100, p50: 24_000, p99: 40_900, max: 61_000 },
        'residence-ns': 3200,
      },
    }),
    path('host-host/icmp', {
      state: 'degraded',
      since: '2026-01-01T11:56:00.000Z',
      reason: '12 % of probes lost',
      window: {
        ...full,
        answered: 53,
        late: 1,
        reordered: 2,
        'rtt-ns': { min: 25_000, p50: 1_200_000, p99: 12_340_000, max: 13_000_000 },
      },
      'loss-point': { node: 'n3', hook: 'from_netdev', leg: 'request', reason: 'CT: Map insertion failed' },
      'path-mtu': 1450,
    }),
    path('host-host/http', {
      window: {
        ...full,
        sent: 6,
        answered: 6,
        'rtt-ns': { min: 300_000, p50: 410_000, p99: 520_000, max: 520_000 },
      },
      'phases-ns': { network: 32_000, connect: 51_000, firstByte: 350_000, total: 410_000 },
    }),
    path('host-endpoint/icmp', {
      family: 6,
      address: 'fd00::3',
      state: 'unreachable',
      since: '2026-01-01T10:00:00.000Z',
      reason: 'EHOSTUNREACH from our own kernel',
      window: { ...full, answered: 0 },
      'loss-point': { node: 'n2', hook: 'socket', leg: 'request', reason: 'EHOSTUNREACH' },
    }),
    path('endpoint-endpoint/icmp', { 'black-hole': true, 'path-mtu': 1400 }),
    path('policy-denied/http', { window: { ...full, sent: 6, answered: 0 } }),
    path('policy-denied/http', {
      family: 6,
      address: 'fd00::3',
      state: 'unreachable',
      reason: 'answered, though a policy denies it',
    }),
    path('endpoint-host/icmp', { state: 'unknown', window: { ...full, sent: 0, answered: 0 } }),
  ],
};

export const broken: HealthDiagnosis = {
  node: 'n1',
  state: 'broken',
  at,
  verdicts: [
    {
      fault: 'node-down',
      place: { kind: 'node', node: 'n4', direction: 'both' },
      what: 'Node n4 is down, or cut off from all others: nothing of it answers.',
      details: [],
      next: ['ciliate health probe n4 --count 20: whether it still is so', 'the console of n4'],
      kinds: [],
      families: [],
      since: '2026-01-01T11:57:30.000Z',
      confidence: 0.9991,
      evidence: { observers: 5, sent: 600, lost: 600, against: 0 },
    },
    {
      fault: 'loss',
      place: { kind: 'pair', from: 'n2', to: 'n3' },
      what: 'Packets are lost on the way from n2 to n3.',
      details: ['seen last on n3 at from_netdev: CT: Map insertion failed'],
      next: ['ciliate health path n2 n3: which kinds of paths fail, and where probes were seen last'],
      kinds: ['host-host/icmp'],
      families: [4],
      'loss-point': { node: 'n3', hook: 'from_netdev', leg: 'request', reason: 'CT: Map insertion failed' },
      since: '2026-01-01T11:56:00.000Z',
      confidence: 0.91,
      evidence: { observers: 1, sent: 120, lost: 14, against: 3 },
    },
  ],
  silent: [{ node: 'n4', 'age-ms': 150_000 }, { node: 'n9' }],
};

export const history: HealthHistory = {
  node: 'n1',
  since: '2026-01-01T11:00:00.000Z',
  changes: [
    { ...path('host-host/icmp'), from: 'unknown', to: 'reachable', at: '2026-01-01T11:00:01.234Z' },
    {
      ...path('host-host/icmp'),
      from: 'reachable',
      to: 'unreachable',
      at: '2026-01-01T11:57:30.001Z',
      reason: 'no answer',
      'loss-point': { node: 'n1', hook: 'to_netdev', leg: 'request' },
    },
    {
      ...path('policy-denied/http', { expects: 'silence' }),
      from: 'reachable',
      to: 'unreachable',
      at: '2026-01-01T11:58:00.500Z',
      reason: 'answered',
    },
  ],
};

export const mtu: HealthMtu = {
  node: 'n1',
  paths: [
    { ...path('host-host/icmp'), 'path-mtu': 1500 },
    { ...path('host-host/icmp', { peer: 'n4', address: '10.0.0.4', state: 'unreachable' }) },
    {
      ...path('endpoint-endpoint/icmp', { peer: 'n5', family: 6, address: 'fd00::5' }),
      'path-mtu': 1280,
      'black-hole': true,
    },
    { ...path('host-endpoint/icmp', { peer: 'n2' }) },
  ],
};

export const probed: HealthProbeReport = {
  node: 'n1',
  count: 5,
  complete: false,
  'took-ms': 2001,
  paths: [
    {
      ...path('host-host/icmp'),
      sent: 6,
      answered: 6,
      lost: 0,
      pending: 0,
      'rtt-ns': { min: 20_000, p50: 25_000, max: 900_000 },
    },
    {
      ...path('host-host/http'),
      sent: 3,
      answered: 1,
      lost: 1,
      pending: 1,
      'rtt-ns': { min: 310_000, p50: 310_000, max: 310_000 },
      reason: 'no reply',
    },
    { ...path('policy-denied/http'), sent: 5, answered: 0, lost: 5, pending: 0, reason: 'no reply' },
    { ...path('policy-allowed/http'), sent: 5, answered: 5, lost: 0, pending: 0 },
    ...(['policy-allowed/http', 'policy-denied/http'] as const).map((kind) => ({
      ...path(kind, { peer: 'n4', address: '10.0.0.4' }),
      sent: 5,
      answered: 0,
      lost: 5,
      pending: 0,
      reason: 'no reply',
    })),
  ],
  'without-path': ['n9'],
};
