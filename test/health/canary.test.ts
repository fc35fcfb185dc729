import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ProbeResult } from '../../probes/types.ts';
import { silentLog } from '../../src/base/log.ts';
import { createHealth, type Health, RequestProber } from '../../src/health/index.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';
import { element, FakeNodes, FakeProbe, lost, refused, reply } from './fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

interface Bench {
  readonly clock: VirtualClock;
  readonly health: Health;
  readonly allowed: FakeProbe;
  readonly denied: FakeProbe;
}

async function bench(allowed: ProbeResult, denied: ProbeResult): Promise<Bench> {
  const clock = new VirtualClock();
  const nodes = new FakeNodes('n1', [
    element('n1', '10.0.0.1', '10.1.0.1'),
    element('n2', '10.0.0.2', '10.1.0.2'),
  ]);
  const probes = {
    allowed: new FakeProbe('http', () => allowed),
    denied: new FakeProbe('http', () => denied),
  };
  const other = new FakeProbe('http', () => reply(300_000));
  const requests = new RequestProber({
    responder: 'http',
    probes: { host: other, endpoint: other },
    classes: { 'policy-allowed': probes.allowed, 'policy-denied': probes.denied },
    clock,
    random: () => 0,
  });
  const interval = { kind: 'fixed', ms: 1000 } as const;
  const health = createHealth({ interval }, { nodes, probers: [requests], clock, log: silentLog });
  await health.start();
  await clock.pass(15_000);
  return { clock, health, ...probes };
}

function canary(health: Health) {
  const reports = health.reports().filter(({ path }) => PROBE_KINDS[path.kind]?.expects === 'silence');
  assert.deepEqual(
    reports.map(({ path }) => `${path.peer} ${path.address}`),
    ['n2 10.1.0.2'],
    'of each other node, and not of our own',
  );
  const [{ state, reason } = { state: 'none', reason: undefined }] = reports;
  return { state, reason };
}

describe('the canary', () => {
  it('is in order while it is silent and its twin answers, and unknown while that is silent too', async () => {
    const { clock, health, allowed } = await bench(reply(1e6), lost);
    assert.equal(canary(health).state, 'reachable');
    allowed.answer = () => lost;
    await clock.pass(30_000);
    assert.deepEqual(canary(health), {
      state: 'unknown',
      reason: 'silent, but so is the path that the policy allows',
    });
    allowed.answer = () => reply(1e6);
    await clock.pass(30_000);
    assert.equal(canary(health).state, 'reachable');
    await health.stop();
  });

  for (const [text, result] of [
    ['is answered', reply(1e6)],
    ['is refused by a closed port', refused],
  ] as const) {
    it(`is the fault when it ${text}, until it is silent again`, async () => {
      const { clock, health, denied } = await bench(reply(1e6), result);
      assert.deepEqual(canary(health), {
        state: 'unreachable',
        reason: 'answered, though a policy denies it',
      });
      denied.answer = () => lost;
      await clock.pass(60_000);
      assert.equal(canary(health).state, 'reachable');
      await health.stop();
    });
  }

  it('says nothing when it cannot be sent', async () => {
    const unsent = { kind: 'failure', failure: { kind: 'send-failed', text: 'EADDRNOTAVAIL' } } as const;
    const { health } = await bench(unsent, unsent);
    assert.equal(canary(health).state, 'unknown');
    await health.stop();
  });

  it('counts its silence as no loss of the peer', async () => {
    const { clock, health } = await bench(reply(1e6), lost);
    await clock.pass(60_000);
    assert.equal(health.cell('n2')?.lost, 0);
    await health.stop();
  });
});
