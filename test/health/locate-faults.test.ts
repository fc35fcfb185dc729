import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Diagnoser } from '../../src/health/locate/index.ts';
import {
  type FaultPlace,
  type HealthDiagnosis,
  type HealthVerdict,
  type PathReport,
  type PathState,
  PROBE_KINDS,
} from '../../src/model/health.ts';
import { DEAD, names, type Seen, World } from './locate-world.ts';

const WALL_MS = Date.UTC(2026, 0, 1);

/** What stands after two seconds in which nothing changes. */
function diagnosed(
  world: World,
  diagnoser = new Diagnoser(),
  own: Parameters<Diagnoser['diagnose']>[1] = () => [],
): HealthDiagnosis {
  let diagnosis: HealthDiagnosis | undefined;
  for (const nowMs of [0, 1000, 2000])
    diagnosis = diagnoser.diagnose(world, own, { nowMs, wallMs: WALL_MS + nowMs });
  assert.ok(diagnosis !== undefined);
  return diagnosis;
}

function brief({ fault, place }: HealthVerdict): string {
  return `${fault} ${placeText(place)}`;
}

function placeText(place: FaultPlace): string {
  return Object.values(place).join(' ');
}

function told(world: World): string[] {
  return diagnosed(world).verdicts.map(brief);
}

const between = (from: string, to: string, a: string, b: string): boolean =>
  (from === a && to === b) || (from === b && to === a);

describe('the diagnosis of a cluster', () => {
  it('is healthy without verdicts when everybody sees everybody', () => {
    const diagnosis = diagnosed(new World(names(8)));
    assert.deepEqual(diagnosis.verdicts, []);
    assert.equal(diagnosis.state, 'healthy');
    assert.equal(diagnosis.atMs, WALL_MS + 2000);
  });

  it('is one dead node when all others say so and its own last row says that all is well', () => {
    const world = new World(names(8));
    world.see = (_, to) => (to === 'n03' ? { states: DEAD, lost: 60 } : {});
    const { state, verdicts } = diagnosed(world);
    assert.deepEqual(verdicts.map(brief), ['node-down node n03 both']);
    assert.equal(state, 'broken');
    assert.ok((verdicts[0]?.confidence ?? 0) > 0.95);
    assert.equal(verdicts[0]?.evidence.observers, 7);
  });

  it('is at once a dead node when most say so', () => {
    const world = new World(names(8));
    world.see = (_, to) => (to === 'n03' ? { states: DEAD } : {});
    const diagnosis = new Diagnoser().diagnose(world, () => [], { nowMs: 0, wallMs: WALL_MS });
    assert.deepEqual(diagnosis.verdicts.map(brief), ['node-down node n03 both']);
  });

  const host = (seen: Seen): Seen => ({ ...seen });
  const atNode: readonly (readonly [string, Seen, string])[] = [
    [
      'a hung stack where only echoes come back',
      host({ '*': 'unreachable', 'host-host/echo': 'reachable' }),
      'stack-hung node n03 both',
    ],
    [
      'a hung agent where only its HTTP is silent',
      host({ 'host-host/http': 'unreachable' }),
      'agent-hung node n03 both',
    ],
    [
      'filtered ICMP where HTTP answers, and nothing is down',
      host({ 'host-host/icmp': 'unreachable', 'host-endpoint/icmp': 'unreachable' }),
      'icmp-filtered node n03 both',
    ],
    [
      'filtered echoes where only UDP of programs is silent, and no loss, whatever it lost',
      host({ 'host-host/echo': 'unreachable' }),
      'echo-filtered node n03 both',
    ],
    [
      'its endpoint where the host answers',
      host({
        'host-endpoint': 'unreachable',
        'endpoint-endpoint': 'unreachable',
        'policy-allowed': 'unreachable',
      }),
      'drop node n03 both',
    ],
    [
      'an open canary where what a policy denies is answered',
      host({ 'policy-denied': 'unreachable' }),
      'canary-open node n03 both',
    ],
    ['slow where paths are degraded and nothing is lost', host({ '*': 'degraded' }), 'slow node n03 both'],
  ];
  for (const [what, states, expected] of atNode) {
    it(`tells ${what}`, () => {
      const world = new World(names(8));
      world.see = (_, to) => (to === 'n03' ? { states } : {});
      assert.deepEqual(told(world), [expected]);
    });
  }

  it('says nothing while echoes are lost and it is not known yet what that means, least of all that packets are lost', () => {
    const world = new World(names(8));
    const silent: readonly Seen[] = [
      { 'host-host/icmp': 'unreachable', 'host-host/http': 'unknown' },
      { 'host-host/echo': 'unreachable', 'host-host/http': 'unknown' },
    ];
    for (const states of silent) {
      world.see = (_, to) => (to === 'n03' ? { states, lost: 20 } : {});
      const { verdicts, state } = diagnosed(world.changed());
      assert.deepEqual(verdicts, []);
      assert.equal(state, 'unknown');
    }
  });

  it('says that ICMP is filtered when it is everywhere and HTTP answers', () => {
    const world = new World(names(8));
    world.see = () => ({ states: { 'host-host/icmp': 'unreachable' } });
    const { state, verdicts } = diagnosed(world);
    assert.deepEqual(verdicts.map(brief), ['icmp-filtered path-class host-host']);
    assert.equal(state, 'degraded');
  });

  it('says so of all, too, where every path is one of the only zone with more than a node', () => {
    for (const nodes of [3, 8]) {
      const world = new World(names(nodes), (node) => (node === names(nodes)[0] ? 'a' : 'b'));
      world.see = () => ({ states: { 'host-host/icmp': 'unreachable' } });
      assert.deepEqual(told(world), ['icmp-filtered path-class host-host']);
    }
  });

  it('says that HTTP is filtered, not that all agents hang, when it is silent everywhere', () => {
    const world = new World(names(8));
    world.see = () => ({ states: { 'host-host/http': 'unreachable' } });
    assert.deepEqual(told(world), ['http-filtered path-class host-host']);
  });

  it('names one family when the other is well', () => {
    const world = new World(names(8));
    world.see = (_, to) => (to === 'n03' ? { states: {}, states6: DEAD } : { states6: {} });
    const [verdict] = diagnosed(world).verdicts;
    assert.deepEqual(verdict?.families, [6]);
  });

  it('names no family when there is only one', () => {
    const world = new World(names(8));
    world.see = (_, to) => (to === 'n03' ? { states: DEAD } : {});
    const [verdict] = diagnosed(world).verdicts;
    assert.deepEqual(verdict?.families, []);
  });

  it('is a pair when two nodes do not see each other and all others see both', () => {
    const world = new World(names(8));
    world.see = (from, to) => (between(from, to, 'n02', 'n05') ? { states: DEAD } : {});
    assert.deepEqual(told(world), ['node-down pair n02 n05']);
  });

  it('is what the observer knows of it, when two nodes do not see each other and one has no route', () => {
    const lossPoint = {
      node: 'n02',
      hook: 'socket',
      leg: 'request',
      reason: 'EHOSTUNREACH: no route',
    } as const;
    const note = {
      peer: 'n05',
      kind: 1,
      family: 4,
      fault: 'route-missing',
      lossPoint,
      sinceMs: WALL_MS,
    } as const;
    const world = new World(names(8));
    world.see = (from, to) =>
      between(from, to, 'n02', 'n05') ? { states: { 'host-host': 'unreachable' } } : {};
    const diagnoser = new Diagnoser();
    assert.deepEqual(diagnosed(world, diagnoser).verdicts.map(brief), ['node-down pair n02 n05']);
    world.notes = (from) => (from === 'n02' ? [note] : []);
    // It was told already that something is wrong between them: that it is known better now needs no time to stand.
    const diagnosis = diagnoser.diagnose(world.changed(), () => [], { nowMs: 2100, wallMs: WALL_MS + 2100 });
    assert.deepEqual(diagnosis.verdicts.map(brief), ['route-missing pair n02 n05']);
    assert.deepEqual(diagnosis.verdicts[0]?.lossPoint, lossPoint);
  });

  it('is no cut network while something of the node answers, though all that is sent to its endpoint is lost', () => {
    const lossPoint = { node: 'n01', hook: 'stamp', leg: 'request', reason: 'never came' } as const;
    const kind = PROBE_KINDS.findIndex(({ name }) => name === 'host-endpoint/icmp');
    const note = { peer: 'n02', kind, family: 4, fault: 'nic-drop', lossPoint, sinceMs: WALL_MS } as const;
    const silent = ['host-host/icmp', 'host-host/http', 'host-endpoint'].map((name) => [name, 'unreachable']);
    const world = new World(names(3));
    world.see = (_, to) => (to === 'n02' ? { states: Object.fromEntries(silent) as Seen } : {});
    world.notes = (from) => (from === 'n02' ? [] : [note]);
    assert.deepEqual(told(world), ['stack-hung node n02 both']);
  });

  const drops = ['from_netdev', 'to_host'] as const;
  for (const hook of drops)
    it(`is the node that says it drops the packets at ${hook}, when all see it by paths of different kinds`, () => {
      const world = new World(names(3));
      const point = { node: 'n02', hook, leg: 'request', reason: 'Policy denied' } as const;
      const seen: Readonly<Record<string, Seen>> = {
        n01: { 'host-endpoint/icmp': 'unreachable' },
        n03: { 'endpoint-endpoint': 'unreachable' },
      };
      world.see = (from, to) => (to === 'n02' ? { states: seen[from] ?? {} } : {});
      world.notes = (from) =>
        from === 'n02'
          ? []
          : [{ peer: 'n02', kind: 3, family: 4, fault: 'policy-drop', lossPoint: point, sinceMs: WALL_MS }];
      const at = { nowMs: 0, wallMs: WALL_MS };
      const { verdicts } = new Diagnoser().diagnose(world, () => [], at);
      assert.deepEqual(verdicts.map(brief), ['policy-drop node n02 receive']);
      world.see = (from, to) => (from === 'n01' && to === 'n02' ? { states: seen.n01 } : {});
      const noted = world.notes;
      world.notes = (from) => (from === 'n01' ? noted(from) : []);
      assert.deepEqual(told(world.changed()), ['policy-drop pair n01 n02'], 'of one it is between the two');
    });

  it('is loss at a node when its paths lose in both directions', () => {
    const world = new World(names(12));
    world.see = (from, to) =>
      from === 'n04' || to === 'n04' ? { sent: 60, lost: 6 } : { sent: 60, lost: 0 };
    assert.deepEqual(told(world), ['loss node n04 both']);
  });

  it('is the observer when only it complains', () => {
    const world = new World(names(8));
    world.see = (from) => (from === 'n07' ? { states: DEAD } : {});
    assert.deepEqual(told(world), ['node-down observer n07']);
  });

  it('does not believe a row that says that all is well of a node that nobody else reaches', () => {
    const world = new World(names(8));
    world.see = (from, to) => (to === 'n03' && from !== 'n06' ? { states: DEAD } : {});
    assert.deepEqual(told(world), ['node-down node n03 both']);
  });

  it('is a pair of two nodes alone: neither can tell which end it is', () => {
    const world = new World(names(2));
    world.see = (from) => (from === 'n01' ? { states: DEAD } : {});
    world.age = (node) => (node === 'n01' ? 0 : 30_000);
    const { verdicts, silent } = diagnosed(world);
    assert.deepEqual(verdicts.map(brief), ['node-down pair n01 n02']);
    assert.ok((verdicts[0]?.confidence ?? 1) <= 0.5);
    assert.deepEqual(silent, [{ node: 'n02', ageMs: 30_000 }]);
  });

  it('of a node alone is what it sees of itself, and unknown without that', () => {
    const world = new World(['n01']);
    world.see = () => undefined;
    const state = (...states: readonly PathState[]): string =>
      diagnosed(world, new Diagnoser(), () => states.map((each) => ({ state: each }) as PathReport)).state;
    assert.deepEqual(
      [state('reachable', 'unknown'), state('unknown'), state(), state('reachable', 'unreachable')],
      ['healthy', 'unknown', 'unknown', 'unknown'],
    );
  });

  it('is unknown when there is no node at all', () => {
    assert.equal(diagnosed(new World([])).state, 'unknown');
  });

  it('is unknown, never healthy, when too many rows are missing', () => {
    const world = new World(names(8));
    world.age = (node) => (node < 'n04' ? 100 : undefined);
    const { state, silent } = diagnosed(world);
    assert.equal(state, 'unknown');
    assert.equal(silent.length, 5);
  });

  it('is unknown while a node is not observed by anybody', () => {
    const world = new World(names(8));
    world.see = (_, to) => (to === 'n08' ? undefined : {});
    assert.equal(diagnosed(world).state, 'unknown');
  });

  it('is a zone when no other zone reaches it, and a pair of zones when one does not', () => {
    const zoneOf = (node: string): string => `z${(Number(node.slice(1)) - 1) % 3}`;
    const world = new World(names(12), zoneOf);
    world.see = (from, to) =>
      zoneOf(from) !== zoneOf(to) && (zoneOf(from) === 'z1' || zoneOf(to) === 'z1') ? { states: DEAD } : {};
    assert.deepEqual(told(world), ['node-down zone z1']);
    world.see = (from, to) => (between(zoneOf(from), zoneOf(to), 'z0', 'z2') ? { states: DEAD } : {});
    assert.deepEqual(told(world.changed()), ['node-down zone-pair z0 z2']);
  });

  it('is a split network from within each half, with zones and without', () => {
    const half = (node: string): string => (Number(node.slice(1)) <= 10 ? 'a' : 'b');
    for (const zone of [half, () => undefined]) {
      for (const self of ['n01', 'n20']) {
        const world = new World(names(20), zone);
        world.self = self;
        world.age = (node) => (half(node) === half(self) ? 400 : 60_000);
        world.see = (from, to) => (half(from) === half(to) ? {} : { states: DEAD });
        const expected = zone === half ? 'node-down zone-pair a b' : 'node-down path-class host-host';
        assert.deepEqual(told(world), [expected]);
        // While the rows of the other half are not old yet, they tell of before.
        world.age = () => 400;
        world.see = (from, to) =>
          half(from) === half(self) && half(to) !== half(self) ? { states: DEAD } : {};
        assert.deepEqual(told(world.changed()), [expected]);
      }
    }
  });
});
