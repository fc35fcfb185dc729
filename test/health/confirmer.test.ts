import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { Confirmer } from '../../src/health/confirmer.ts';
import { createHealth, type Health, RequestProber } from '../../src/health/index.ts';
import { SILENT, symptomsOf } from '../../src/health/locate/symptoms.ts';
import type { PathTracker } from '../../src/health/state/path-tracker.ts';
import { isInDoubt } from '../../src/health/told-states.ts';
import { PROBE_KINDS, type ProbePath } from '../../src/model/health.ts';
import { VirtualProber } from '../support/virtual-network.ts';
import { element, FakeNodes, FakeProbe, lost, reply } from './fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

const NODES = [element('n1', '10.0.0.1', '10.1.0.1'), element('n2', '10.0.0.2', '10.1.0.2')];
const TRIALS = 20;
const RTT_MS = 0.2;
const REQUEST_MS = 1000;

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Bench {
  readonly clock: VirtualClock;
  readonly health: Health;
  /** Whether a probe by packets of that path is answered. */
  answers: (path: ProbePath) => boolean;
  /** Whether n2's agent answers. */
  agentAnswers: boolean;
}

async function bench(seed: number): Promise<Bench> {
  const clock = new VirtualClock();
  const random = seeded(seed);
  const made = { answers: () => true, agentAnswers: true } as Pick<Bench, 'answers' | 'agentAnswers'>;
  const http = new FakeProbe('http', (address) =>
    made.agentAnswers || !address.endsWith('.2')
      ? reply(1e6)
      : new Promise((resolve) => void clock.after(REQUEST_MS, () => resolve(lost))),
  );
  const packets = new VirtualProber({
    clock,
    random,
    fate: (path) => (made.answers(path) ? RTT_MS : undefined),
  });
  const requests = new RequestProber({ responder: 'http', probes: { host: http }, clock, random });
  const health = createHealth(
    { interval: { kind: 'fixed', ms: 1000 } },
    { nodes: new FakeNodes('n1', NODES), probers: [packets, requests], clock, log: silentLog },
  );
  await health.start();
  await clock.pass(25_000 + 1000 * random());
  return Object.assign(made, { clock, health });
}

const isEcho = ({ kind }: ProbePath): boolean => PROBE_KINDS[kind]?.responder === 'echo';

/** What the states of n2 come to for the others, each once with when it came, in so many ms. */
async function symptoms({ clock, health }: Bench, forMs: number): Promise<ReadonlyMap<number, number>> {
  const seen = new Map<number, number>();
  for (let ms = 0; ms < forMs; ms += 10) {
    await clock.pass(10);
    const shown = symptomsOf(health.cell('n2')?.states[4] ?? 0);
    seen.set(shown, seen.get(shown) ?? ms);
  }
  return seen;
}

describe('what else of a peer died with a path', () => {
  it('is never all of it while its device answers, and a stack that hangs is known within two seconds', async () => {
    const stack = 2 * SILENT;
    for (let seed = 1; seed <= TRIALS; seed++) {
      const one = await bench(seed);
      one.answers = (path) => path.peer !== 'n2' || isEcho(path);
      one.agentAnswers = false;
      const seen = await symptoms(one, 5000);
      const text = `seed ${seed}: ${JSON.stringify([...seen])}`;
      assert.ok(![...seen.keys()].some((shown) => (shown & SILENT) !== 0), text);
      assert.ok((seen.get(stack) ?? Number.POSITIVE_INFINITY) <= 2200, text);
      await one.health.stop();
    }
  });

  it('is nothing when only the agent hangs, and that is known within two seconds and a half', async () => {
    for (let seed = 1; seed <= TRIALS; seed++) {
      const one = await bench(seed);
      one.agentAnswers = false;
      const seen = await symptoms(one, 5000);
      const text = `seed ${seed}: ${JSON.stringify([...seen])}`;
      assert.ok(![...seen.keys()].some((shown) => (shown & SILENT) !== 0), text);
      const firstMs = Math.min(...[...seen].flatMap(([shown, ms]) => (shown === 0 ? [] : [ms])));
      assert.ok(firstMs <= 2400, text);
      await one.health.stop();
    }
  });

  it('is all of it when the peer is dead, within a second and a half', async () => {
    for (let seed = 1; seed <= TRIALS; seed++) {
      const one = await bench(seed);
      one.answers = ({ peer }) => peer !== 'n2';
      one.agentAnswers = false;
      const seen = await symptoms(one, 3000);
      const text = `seed ${seed}: ${JSON.stringify([...seen])}`;
      assert.ok((seen.get(SILENT) ?? Number.POSITIVE_INFINITY) <= 1500, text);
      await one.health.stop();
    }
  });
});

/** Timers of the system count from the whole millisecond in which they were begun. */
class EarlyClock extends VirtualClock {
  override after(ms: number, act: () => void): () => void {
    return super.after(ms - 0.9, act);
  }
}

describe('a silent kernel beside an agent that answers', () => {
  it('is heard of once more when it is in doubt no longer, also where timers end a little early', async () => {
    const clock = new EarlyClock();
    const tracked = (name: string, state: string, deadMs?: number): PathTracker => {
      const path = { peer: 'n2', kind: PROBE_KINDS.findIndex((kind) => kind.name === name) };
      return { path, state, deadMs, hasAnsweredSince: () => true } as unknown as PathTracker;
    };
    const stack = tracked('host-host/icmp', 'unreachable', 0);
    const trackers = [stack, tracked('host-host/http', 'reachable')];
    const doubts: boolean[] = [];
    const confirmer = new Confirmer({
      clock,
      book: { trackers: () => trackers, burst: () => undefined, tickPeer: () => undefined },
      onHeard: () => doubts.push(isInDoubt(stack, trackers, clock.nowMs())),
    });
    confirmer.askSilentKernels(['n2']);
    assert.equal(isInDoubt(stack, trackers, clock.nowMs()), true);
    await clock.pass(1000);
    assert.deepEqual(doubts, [false]);
    confirmer.stop();
  });
});
