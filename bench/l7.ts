/**
 * What HTTP costs through the proxy: requests a second and latency as `wrk` sees them, from one pod to another, direct
 * beside redirected to the proxy beside nginx as a plain reverse proxy, in one interleaved run; a pipe made of Node's
 * sockets shows what a proxy that does nothing costs. Each has core 0 for itself; wrk, the server and the agent that
 * takes the log records share core 1. For latency the proxies are moved to core 1 as well, since waking up another
 * virtual core takes longer than a proxy. Then the same with 1,000 rules. And what 1,000 rules cost a request, without any network. Needs root.
 */
import { setPriority } from 'node:os';
import { SystemError } from '../src/base/errors.ts';
import { runChecked } from '../src/base/run.ts';
import type { HttpRule } from '../src/model/l7.ts';
import { L7Lab, missingPrograms, OTHER_CORE, PROXY_CORE, WAYS, type Way } from './support/l7-lab.ts';
import { measureRules, RULES, ruleAt } from './support/l7-rules.ts';
import { NICE } from './support/load.ts';
import { type BenchRow, interleave, median, report } from './support/measure.ts';

const ROUNDS = Number(process.env.CILIATE_BENCH_ROUNDS ?? 7);
const SECONDS = 1;
/** Before the first round: what runs a few thousand times only is not compiled yet. */
const WARM_UP_SECONDS = 5;

/** What is measured: connections, and the core of the proxies. */
const LOADS = [
  { connections: 16, core: PROXY_CORE },
  { connections: 64, core: PROXY_CORE },
  { connections: 1, core: PROXY_CORE },
  { connections: 1, core: OTHER_CORE },
] as const;
/** The same with many rules, of which the last one allows the request. */
const MANY_RULES_LOADS = [
  { connections: 64, core: PROXY_CORE },
  { connections: 1, core: OTHER_CORE },
] as const;
type Load = (typeof LOADS)[number];

const NAMES: Readonly<Record<Way, string>> = {
  direct: 'direct',
  proxy: 'through the proxy',
  pipe: 'through a pipe in Node',
  nginx: 'through nginx',
};

const LAST_RULE: HttpRule = {
  ...{ path: '/v1/.*', method: 'GET', host: undefined, headers: [], headerMatches: [] },
};

interface Figures {
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** CPU time of the proxy. */
  readonly cpuUs: number;
}

const UNITS: Readonly<Record<string, number>> = { us: 1, ms: 1000, s: 1e6 };

function latency(text: string, percent: string): number {
  const [, value, unit] = new RegExp(`\\s${percent}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? [];
  return Number(value) * (UNITS[unit ?? ''] ?? Number.NaN);
}

async function wrk(lab: L7Lab, way: Way, connections: number, seconds = SECONDS): Promise<Figures> {
  const argv = ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', lab.url(way)];
  const before = lab.cpuMs(way);
  const text = await runChecked(lab.within(argv), { timeoutMs: seconds * 1000 + 30_000 });
  const cpuMs = lab.cpuMs(way) - before;
  if (/Non-2xx|Socket errors/.test(text)) throw new SystemError(`wrk saw failures:\n${text}`);
  const requests = Number(/(\d+) requests in/.exec(text)?.[1]);
  return {
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    p50Us: latency(text, '50'),
    p99Us: latency(text, '99'),
    cpuUs: (cpuMs * 1000) / requests,
  };
}

async function measure(lab: L7Lab, load: Load, rules = 1): Promise<void> {
  const seen = new Map<Way, Figures[]>(WAYS.map((way) => [way, []]));
  const variants = WAYS.map((name) => ({
    name,
    run: async () => {
      const figures = await wrk(lab, name, load.connections);
      seen.get(name)?.push(figures);
      return figures.perSecond;
    },
  }));
  await interleave(variants, ROUNDS);
  /** Of a way's figures, or of what it has more than another way in the same round. */
  const of = (way: Way, key: keyof Figures, beyond?: Way): number =>
    median(
      (seen.get(way) ?? []).map(
        (figures, round) =>
          figures[key] - (beyond === undefined ? 0 : (seen.get(beyond)?.[round]?.[key] ?? 0)),
      ),
    );
  const over = (way: Way, other: Way): number =>
    median(
      (seen.get(way) ?? []).map(
        (figures, round) => figures.perSecond / (seen.get(other)?.[round]?.perSecond ?? 0),
      ),
    );
  const where = load.core === PROXY_CORE ? 'the proxies on a core of their own' : 'everything on one core';
  report(
    `HTTP by wrk, rules: ${rules}, connections: ${load.connections}, ${where}; medians of ${ROUNDS} rounds`,
    [
      ...WAYS.map((way) => ({ what: NAMES[way], value: of(way, 'perSecond'), unit: 'req/s' })),
      {
        what: 'proxy / nginx',
        value: over('proxy', 'nginx'),
        unit: 'x',
        ...(load.connections > 1 ? { aim: '>= 0.5' } : {}),
      },
      { what: 'proxy / pipe', value: over('proxy', 'pipe'), unit: 'x' },
      { what: 'proxy / direct', value: over('proxy', 'direct'), unit: 'x' },
      { what: 'p50, direct', value: of('direct', 'p50Us'), unit: 'us' },
      ...added('p50Us', of, load.connections === 1),
      ...added('p99Us', of, false),
      ...(['proxy', 'pipe', 'nginx'] as const).map((way) => ({
        what: `CPU a request, ${way}`,
        value: of(way, 'cpuUs'),
        unit: 'us',
      })),
    ],
  );
}

function added(
  key: 'p50Us' | 'p99Us',
  of: (way: Way, key: keyof Figures, beyond?: Way) => number,
  aimed: boolean,
): readonly BenchRow[] {
  return (['proxy', 'pipe', 'nginx'] as const).map((way) => ({
    what: `${key.slice(0, 3)} added, ${way}`,
    value: of(way, key, 'direct'),
    unit: 'us',
    ...(aimed && way === 'proxy' ? { aim: '<= 100' } : {}),
  }));
}

async function measureWrk(): Promise<void> {
  const lab = new L7Lab();
  try {
    await runChecked(['taskset', '-acp', String(OTHER_CORE), String(process.pid)]);
    setPriority(NICE);
    await lab.start();
    for (const way of WAYS) await wrk(lab, way, 16, WARM_UP_SECONDS);
    for (const load of LOADS) {
      await lab.moveProxies(load.core);
      await measure(lab, load);
    }
    await lab.setRules([...Array.from({ length: RULES - 1 }, (_, i) => ruleAt(i)), LAST_RULE]);
    for (const load of MANY_RULES_LOADS) {
      await lab.moveProxies(load.core);
      await measure(lab, load, RULES);
    }
    if (lab.records === 0) throw new SystemError('the proxy logged nothing');
  } finally {
    await lab.cleanUp();
  }
}

measureRules();
const missing = missingPrograms();
if (missing.length > 0) console.error(`bench l7: requests not measured, needs ${missing.join(', ')}`);
else await measureWrk();
