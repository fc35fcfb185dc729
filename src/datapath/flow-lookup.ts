import { type Bpf, type BpfMap, loadBpf, type SharedValues } from '../../bpf/addon/index.ts';
import { type IpBytes, parseIp } from '../base/ip.ts';
import { CtFlag } from '../model/constants.gen.ts';
import type { NumericIdentity } from '../model/identity.ts';
import { ct4KeyLayout, ct6KeyLayout, ctEntryLayout } from './map-layouts.ts';
import { be16, fieldsOf, u32, u64 } from './struct-layout.ts';
import type { ConntrackDescriptors } from './types.ts';

/** One end of a flow as sockets name it: address as text, port in host order. */
export interface FlowAddress {
  readonly address: string;
  readonly port: number;
}

/** One end of a flow as the datapath judged it. */
export interface JudgedEnd {
  readonly identity: NumericIdentity;
  /** It is an endpoint of this node. */
  readonly local: boolean;
  /** The policy of this end is why the flow passes the proxy. */
  readonly redirects: boolean;
}

/** A flow that the datapath let through or handed to the proxy. */
export interface JudgedFlow {
  readonly client: JudgedEnd;
  readonly server: JudgedEnd;
  /** False: the end that was asked for as the server opened it. */
  readonly opensAsAsked: boolean;
  /**
   * Whether this is how the datapath judges the flow at this moment: false from a change of either end's policy, identity
   * or, for one that is not of this node, of any address's identity on, until the flow's next packet. Needs no system call.
   */
  holds(): boolean;
}

/** Who is speaking, from the conntrack maps. */
export interface FlowLookup {
  /**
   * @param protocol IANA number
   * @returns undefined when the kernel knows no such flow
   */
  find(client: FlowAddress, server: FlowAddress, protocol: number): JudgedFlow | undefined;
  close(): void;
}

const judgedLayout = fieldsOf(ctEntryLayout, ['flags', 'slot', 'identity', 'epoch']);

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** As the programs sort the ends: by the address's words in the machine's order, then by the port's. */
function isSwapped(a: IpBytes, b: IpBytes, ports: Uint8Array): boolean {
  const [first, second] = [viewOf(a), viewOf(b)];
  const codec = a.length === 4 ? u32 : u64;
  for (let at = 0; at < a.length; at += codec.bytes) {
    const [x, y] = [codec.read(first, at), codec.read(second, at)];
    if (x !== y) return x > y;
  }
  const [x, y] = new Uint16Array(ports.buffer, ports.byteOffset, 2);
  return (x ?? 0) > (y ?? 0);
}

/** Key of a flow's entry in its family's map, and on which side of it the first end is. */
export function conntrackKey(
  client: { readonly address: IpBytes; readonly port: number },
  server: { readonly address: IpBytes; readonly port: number },
  protocol: number,
): { readonly key: Buffer; readonly clientSide: 0 | 1 } {
  const ports = new Uint8Array(4);
  be16.write(viewOf(ports), 0, client.port);
  be16.write(viewOf(ports), 2, server.port);
  const swapped = isSwapped(client.address, server.address, ports);
  const [a, b] = swapped ? [server, client] : [client, server];
  const layout = client.address.length === 4 ? ct4KeyLayout : ct6KeyLayout;
  const key = layout.encode({ address: [a.address, b.address], port: [a.port, b.port], protocol });
  return { key, clientSide: swapped ? 1 : 0 };
}

class ConntrackLookup implements FlowLookup {
  readonly #maps: { readonly 4: BpfMap; readonly 16: BpfMap };
  readonly #epochs: SharedValues;

  constructor(ipv4: BpfMap, ipv6: BpfMap, epochs: SharedValues) {
    this.#maps = { 4: ipv4, 16: ipv6 };
    this.#epochs = epochs;
  }

  find(client: FlowAddress, server: FlowAddress, protocol: number): JudgedFlow | undefined {
    const ends = [client, server].map(({ address, port }) => ({ address: parseIp(address), port }));
    const [from, to] = ends;
    if (from === undefined || to === undefined || from.address.length !== to.address.length) return undefined;
    const { key, clientSide } = conntrackKey(from, to, protocol);
    const value = this.#maps[from.address.length === 4 ? 4 : 16].lookup(key);
    if (value === undefined) return undefined;
    const { flags, slot, identity, epoch } = judgedLayout.decode(value);
    const epochs = this.#epochs;
    const end = (side: 0 | 1): JudgedEnd => ({
      identity: identity[side],
      local: slot[side] !== 0,
      redirects: (flags & (side === 0 ? CtFlag.proxyA : CtFlag.proxyB)) !== 0,
    });
    const initiator = (flags & CtFlag.initB) !== 0 ? 1 : 0;
    return {
      client: end(clientSide),
      server: end(clientSide === 0 ? 1 : 0),
      opensAsAsked: initiator === clientSide,
      holds: () => epochs.u32(slot[0]) === epoch[0] && epochs.u32(slot[1]) === epoch[1],
    };
  }

  close(): void {
    this.#maps[4].close();
    this.#maps[16].close();
  }
}

/**
 * Reads the conntrack maps by descriptors that this process inherited; they stay the caller's. Needs no capability.
 * @throws BpfError BPF_WRONG_KIND when a descriptor is of no map
 */
export function openFlowLookup(
  descriptors: Pick<ConntrackDescriptors, 'ipv4' | 'ipv6' | 'epochs'>,
  bpf: Pick<Bpf, 'mapFromDescriptor'> = loadBpf(),
): FlowLookup {
  const opened: BpfMap[] = [];
  const open = (descriptor: number): BpfMap => {
    const map = bpf.mapFromDescriptor(descriptor);
    opened.push(map);
    return map;
  };
  try {
    const [ipv4, ipv6, epochs] = [open(descriptors.ipv4), open(descriptors.ipv6), open(descriptors.epochs)];
    const values = epochs.sharedValues();
    epochs.close();
    return new ConntrackLookup(ipv4, ipv6, values);
  } catch (error) {
    for (const map of opened) map.close();
    throw error;
  }
}
