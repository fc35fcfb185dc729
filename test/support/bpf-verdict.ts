import { formatIp, parseIp } from '../../src/base/ip.ts';
import type { Enforcement } from '../../src/datapath/types.ts';
import { DropReason, EventKind } from '../../src/model/constants.gen.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import type { Direction, MapState } from '../../src/model/map-state.ts';
import { echo, type L4, packet, rawL4, tcp, udp } from './packets.ts';
import { LOOPBACK, ProgramRig, testEndpoint } from './program-rig.ts';

export interface BpfQuery {
  readonly direction: Direction;
  /** Identity of the other side; 0 is an address in the ranges of endpoints that nobody has announced. */
  readonly identity: number;
  /** 1, 6, 17, 58 or 132. */
  readonly protocol: number;
  /** Destination port, host order; not used for ICMP, which is an echo request. */
  readonly port: number;
}

export type BpfVerdict =
  | { readonly kind: 'allow' }
  | { readonly kind: 'deny'; readonly reason: number }
  | { readonly kind: 'redirect' };

const POD4 = '10.0.0.1';
const POD6 = 'fd00::1';

function transport(protocol: number, sourcePort: number, port: number): L4 {
  switch (protocol) {
    case 1:
      return echo(4, 'request', sourcePort);
    case 58:
      return echo(6, 'request', sourcePort);
    case 6:
      return tcp(sourcePort, port, 0x02);
    case 17:
      return udp(sourcePort, port);
    case 132: {
      const bytes = Buffer.alloc(16);
      bytes.writeUInt16BE(sourcePort, 0);
      bytes.writeUInt16BE(port, 2);
      return rawL4(132, bytes);
    }
    default:
      throw new RangeError(`no packet of protocol ${protocol} can be judged`);
  }
}

/**
 * What the shipped programs do with the first packet of a flow, by BPF_PROG_TEST_RUN: one endpoint with a policy,
 * and a peer of any identity. The third voice beside the naive evaluator and the compiled map state.
 *
 * @example
 *   const oracle = await BpfVerdictOracle.start();
 *   await oracle.setPolicy(mapState, { ingress: true, egress: false });
 *   oracle.verdict({ direction: 'ingress', identity: 1234, protocol: 6, port: 80 });
 *   oracle.close();
 */
export class BpfVerdictOracle {
  readonly #rig = new ProgramRig();
  readonly #addressOf = new Map<number, { readonly v4: string; readonly v6: string }>();
  #flow = 0;

  static async start(): Promise<BpfVerdictOracle> {
    const oracle = new BpfVerdictOracle();
    await oracle.#rig.start(['192.0.2.1', 'fd01::1'], ['10.0.0.0/8', 'fd00::/64']);
    await oracle.#rig.attach(testEndpoint(1, { identity: 60_000, ifindex: LOOPBACK }), {
      ingress: false,
      egress: false,
    });
    oracle.#rig.setEventKinds(1 << EventKind.drop);
    return oracle;
  }

  /** Replaces the endpoint's whole policy. */
  setPolicy(state: MapState, enforcement: Enforcement): Promise<void> {
    this.#rig.clearConntrack();
    return this.#rig.setPolicy(1, state, enforcement);
  }

  /** Identities that `verdict` will be asked about; those it does not know throw. */
  async addIdentities(identities: Iterable<number>): Promise<void> {
    for (const identity of identities) {
      if (this.#addressOf.has(identity)) continue;
      const index = this.#addressOf.size + 1;
      const v4 = identity === 0 ? '10.200.0.1' : `198.18.${index >> 8}.${index & 0xff}`;
      const v6 = identity === 0 ? 'fd00::dead' : formatIp(parseIp(`fd77::${index.toString(16)}`));
      this.#addressOf.set(identity, { v4, v6 });
      if (identity === 0) continue;
      await this.#rig.setIdentity(`${v4}/32`, identity);
      await this.#rig.setIdentity(`${v6}/128`, identity);
    }
  }

  verdict(query: BpfQuery): BpfVerdict {
    const peer = this.#addressOf.get(query.identity);
    if (peer === undefined) throw new RangeError(`identity ${query.identity} was not added`);
    // A source port of its own for each flow: no verdict comes from conntrack.
    this.#flow = (this.#flow + 1) % 64_000;
    const payload = transport(query.protocol, 1024 + this.#flow, query.port);
    const v6 = query.protocol === 58 || (query.protocol !== 1 && this.#flow % 2 === 1);
    const [pod, other] = v6 ? [POD6, peer.v6] : [POD4, peer.v4];
    const { verdict, events } =
      query.direction === 'egress'
        ? this.#rig.run('from_pod', packet({ source: pod, destination: other, sourceMac: podMac, payload }))
        : this.#ingress(packet({ source: other, destination: pod, payload }), query.identity);
    if (verdict === 'pass' || verdict === 'redirect') return { kind: 'allow' };
    const drop = events.find((event) => event.kind === 'drop');
    if (verdict !== 'drop' || drop?.kind !== 'drop') throw new Error(`verdict ${verdict} without a reason`);
    return drop.reason === DropReason.proxyLookupFailed
      ? { kind: 'redirect' }
      : { kind: 'deny', reason: drop.reason };
  }

  /** Only the node itself can speak as the node. */
  #ingress(data: Buffer, identity: number): ReturnType<ProgramRig['run']> {
    return this.#rig.run('to_pod', data, identity === ReservedIdentity.host ? 0 : LOOPBACK);
  }

  close(): void {
    this.#rig.close();
  }
}

const podMac = Uint8Array.from([0x02, 0, 0, 0, 0, 1]);
