import assert from 'node:assert/strict';
import { after, before, beforeEach, describe } from 'node:test';
import type { Direction, MapStateEntry, MapStateKey, MapStateVerdict } from '../../src/model/map-state.ts';
import { type L4, type PacketOptions, packet, TcpFlag } from './packets.ts';
import { bpfOrSkip } from './privilege.ts';
import { LOOPBACK, ProgramRig, type RunResult, testEndpoint } from './program-rig.ts';

export const A = testEndpoint(1, { identity: 1000, ifindex: LOOPBACK });
export const B = testEndpoint(2, { identity: 2000 });
export const LOCKED = testEndpoint(3, { identity: 3000 });
export const ADDRESSES = {
  4: {
    a: '10.0.0.1',
    b: '10.0.0.2',
    locked: '10.0.0.3',
    nobody: '10.0.0.99',
    peer: '10.0.7.7',
    node: '203.0.113.1',
    otherNode: '203.0.113.2',
    world: '198.51.100.7',
    router: '10.0.0.254',
  },
  6: {
    a: 'fd00::1',
    b: 'fd00::2',
    locked: 'fd00::3',
    nobody: 'fd00::99',
    peer: 'fd00::7:7',
    node: 'fd01::1',
    otherNode: 'fd01::2',
    world: '2001:db8::7',
    router: 'fd00::fe',
  },
} as const;
export const PEER = 4000;
export const OPEN = { ingress: false, egress: false };
export const { syn, ack, fin, rst } = TcpFlag;
export const CT_ENTRY_BYTES = 64;

export function item(
  direction: Direction,
  identity: number,
  options: {
    protocol?: number;
    port?: number;
    bits?: number;
    verdict?: MapStateVerdict;
    precedence?: number;
  } = {},
): { key: MapStateKey; entry: MapStateEntry } {
  const { protocol = 0, port = 0, verdict = { kind: 'allow' }, precedence = 1 } = options;
  const bits = options.bits ?? (port === 0 ? 0 : 16);
  return {
    key: { direction, identity, protocol, port, portPrefixLength: bits },
    entry: { verdict, precedence, ruleId: 9 },
  };
}

export function dropReason(result: RunResult): number | undefined {
  const event = result.events.find(({ kind }) => kind === 'drop');
  return event?.kind === 'drop' ? event.reason : undefined;
}

export function assertDropped(result: RunResult, reason: number): void {
  assert.equal(result.verdict, 'drop');
  assert.equal(dropReason(result), reason);
}

/** One family's run of the cases of a subject: a rig with endpoints A, B and LOCKED, and ways to send to it. */
export interface ProgramCases {
  readonly family: 4 | 6;
  readonly address: (typeof ADDRESSES)[4 | 6];
  /** There from the first test on. */
  readonly rig: ProgramRig;
  /** From endpoint A. */
  send(destination: string, payload: L4, options?: Partial<PacketOptions>): RunResult;
  /** From the wire. */
  receive(source: string, payload: L4, options?: Partial<PacketOptions>): RunResult;
  /** From the stack; `ingress` 0 is the node itself. */
  deliver(source: string, payload: L4, ingress: number, options?: Partial<PacketOptions>): RunResult;
}

async function startRig(family: 4 | 6): Promise<ProgramRig> {
  const address = ADDRESSES[family];
  const bits = family === 4 ? 32 : 128;
  const rig = new ProgramRig();
  await rig.start(['203.0.113.1', 'fd01::1'], ['10.0.0.0/8', 'fd00::/64']);
  await rig.setIdentity(`${address.peer}/${bits}`, PEER);
  await rig.setIdentity(`${address.otherNode}/${bits}`, 6);
  await rig.attach(A, OPEN);
  await rig.attach(B, OPEN);
  await rig.attach(LOCKED);
  return rig;
}

function casesOf(family: 4 | 6, rig: () => ProgramRig): ProgramCases {
  const address = ADDRESSES[family];
  return {
    family,
    address,
    get rig() {
      return rig();
    },
    send: (destination, payload, options = {}) =>
      rig().run(
        'from_pod',
        packet({ source: address.a, sourceMac: A.mac, destination, payload, ...options }),
      ),
    receive: (source, payload, options = {}) =>
      rig().run('from_netdev', packet({ source, destination: address.a, payload, ...options })),
    deliver: (source, payload, ingress, options = {}) =>
      rig().run('to_pod', packet({ source, destination: address.a, payload, ...options }), ingress),
  };
}

/** Describes the programs once a family; before each test nothing is tracked and A and B are open. */
export function describePrograms(subject: string, define: (cases: ProgramCases) => void): void {
  for (const family of [4, 6] as const) {
    describe(`programs: ${subject}, IPv${family}`, { skip: bpfOrSkip() }, () => {
      let rig: ProgramRig | undefined;
      const started = (): ProgramRig => {
        assert.ok(rig, 'the rig is started before the first test');
        return rig;
      };
      before(async () => {
        rig = await startRig(family);
      });
      after(() => rig?.close());
      beforeEach(async () => {
        started().clearConntrack();
        await started().setPolicy(A.id, new Map(), OPEN);
        await started().setPolicy(B.id, new Map(), OPEN);
        await started().setHostPolicy(undefined);
        started().services.retain([]);
      });
      define(casesOf(family, started));
    });
  }
}
