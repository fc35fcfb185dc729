import { randomInt } from 'node:crypto';
import { ApiError, type EndpointRef } from '../api/operations.ts';
import type * as Api from '../api/schema.ts';
import { parseIp } from '../base/ip.ts';
import type { Datapath } from '../datapath/types.ts';
import type { Endpoint, EndpointSpec } from './endpoint.ts';
import { addressesOf, ownerOf } from './endpoint-addresses.ts';
import { HOST_ENDPOINT_ID, requestSpec } from './endpoint-request.ts';
import { type Ipam, IpamOwner } from './ipam.ts';
import { ipamCall } from './ipam-answers.ts';
import type { NetworkSetup } from './network-setup.ts';

export interface EndpointIntakeDeps {
  readonly datapath: Datapath;
  readonly network: NetworkSetup;
  readonly ipam: Ipam;
  /** This node's devices to other nodes: no endpoint's. */
  readonly devices: readonly string[];
  /** The node whose own address this is, or another node in whose range it lies. */
  readonly holderOf: (ip: string) => string | undefined;
}

/** The number above it is that of the node itself. */
const MAX_ID = HOST_ENDPOINT_ID - 1;

/** Decides whether a request can become an endpoint, and of what exactly. */
export class EndpointIntake {
  readonly #endpoints: ReadonlyMap<number, Endpoint>;
  readonly #deps: EndpointIntakeDeps;

  constructor(endpoints: ReadonlyMap<number, Endpoint>, deps: EndpointIntakeDeps) {
    this.#endpoints = endpoints;
    this.#deps = deps;
  }

  /** The endpoint's parts, with its id and interface settled. @throws ApiError 400 naming the field, 409 */
  settle(ref: EndpointRef, request: Api.EndpointChangeRequest): Promise<EndpointSpec> {
    const id = this.#chooseId(ref, request);
    const spec = requestSpec(request, id, this.#deps.datapath.kind === 'bpf');
    for (const ip of addressesOf(spec)) this.#refuseForeign(ip);
    return this.#settleInterface(spec);
  }

  /** To be called right before the endpoint is entered, with no await between: another may have come meanwhile. @throws ApiError 409 */
  refuseDuplicate(spec: EndpointSpec): void {
    const conflict = (text: string): ApiError => new ApiError(409, text, { code: 'ENDPOINT_EXISTS' });
    if (this.#endpoints.has(spec.id)) throw conflict(`endpoint ${spec.id} exists already`);
    for (const { id, spec: other } of this.#endpoints.values()) {
      if (spec.containerId !== undefined && other.containerId === spec.containerId) {
        throw conflict(`container ${spec.containerId} has endpoint ${id} already`);
      }
      if (spec.interfaceName !== '' && other.interfaceName === spec.interfaceName) {
        throw conflict(`interface ${spec.interfaceName} belongs to endpoint ${id} already`);
      }
      const shared = addressesOf(other).find((ip) => addressesOf(spec).includes(ip));
      if (shared !== undefined) throw conflict(`${shared} is already in use by endpoint ${id}`);
    }
  }

  /**
   * Takes the endpoint's addresses: one that was given out before (POST /ipam) becomes the endpoint's, a free one is
   * taken for it. Those that were taken are added to `taken`, also when a later one is refused.
   * @throws ApiError 400, 409, 501
   */
  takeAddresses(spec: EndpointSpec, request: Api.EndpointChangeRequest, taken: string[]): void {
    if (request['datapath-configuration']?.['external-ipam'] === true) return;
    const { ipam } = this.#deps;
    for (const ip of addressesOf(spec)) {
      const holder = ipam.holder(ip);
      if (holder?.owner === IpamOwner.router)
        throw new ApiError(409, `${ip} is already in use by the router`);
      ipamCall(() =>
        holder === undefined ? ipam.allocate(ip, ownerOf(spec)) : ipam.confirm(ip, ownerOf(spec)),
      );
      taken.push(ip);
    }
  }

  #chooseId(ref: EndpointRef, request: Api.EndpointChangeRequest): number {
    const asked =
      request.id !== undefined && request.id !== 0 ? request.id : ref.kind === 'cilium-local' ? ref.id : 0;
    if (asked === 0) return this.#freeId();
    if (asked < 1 || asked > MAX_ID)
      throw new ApiError(400, `${asked} is not from 1 to ${MAX_ID}`, { field: 'id' });
    if (!this.#endpoints.has(asked)) return asked;
    throw new ApiError(409, `endpoint ${asked} exists already`, {
      code: 'ENDPOINT_EXISTS',
      hint: 'delete it first, or leave the id out to get a free one',
    });
  }

  /** Random, so that an id is not given again soon after its endpoint went: logs and counters would mix them up. */
  #freeId(): number {
    for (let tried = 0, id = randomInt(1, MAX_ID + 1); tried < MAX_ID; tried++, id = (id % MAX_ID) + 1) {
      if (!this.#endpoints.has(id)) return id;
    }
    throw new ApiError(500, `all ${MAX_ID} endpoint ids are taken`);
  }

  /** An address that is somebody else's would take its traffic, and its identity in the ipcache. */
  #refuseForeign(ip: string): void {
    const field = `addressing.ipv${ip.includes(':') ? 6 : 4}`;
    if (!isUnicast(parseIp(ip)))
      throw new ApiError(400, `${ip} is not an address that an endpoint can have`, { field });
    const holder = this.#deps.holderOf(ip);
    if (holder !== undefined) throw new ApiError(409, `${ip} belongs to node ${holder}`, { field });
  }

  async #settleInterface(spec: EndpointSpec): Promise<EndpointSpec> {
    if (this.#deps.datapath.kind === 'none') return spec;
    const { network, devices } = this.#deps;
    const refuse = (what: string): ApiError =>
      new ApiError(400, what, {
        field: 'interface-name',
        hint: "name the host's side of the endpoint's veth pair",
      });
    const index = await network.interfaceIndex(spec.interfaceName);
    if (index === undefined) throw refuse(`there is no interface ${spec.interfaceName} here`);
    // The programs of an endpoint on the node's own device would cut the node off.
    if (devices.includes(spec.interfaceName)) throw refuse(`${spec.interfaceName} is a device of this node`);
    const kind = await network.interfaceKind(spec.interfaceName);
    if (kind !== 'veth') throw refuse(`${spec.interfaceName} is no veth${kind ? `, but a ${kind}` : ''}`);
    if (spec.interfaceIndex === 0 || spec.interfaceIndex === index) return { ...spec, interfaceIndex: index };
    throw new ApiError(400, `${spec.interfaceName} has index ${index}, not ${spec.interfaceIndex}`, {
      field: 'interface-index',
    });
  }
}

/** Neither unspecified, loopback, link-local, multicast, broadcast nor an IPv4 address in an IPv6 one. */
function isUnicast(bytes: Uint8Array): boolean {
  const [a = 0, b = 0] = bytes;
  if (bytes.length === 4) return a > 0 && a < 224 && a !== 127 && !(a === 169 && b === 254);
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0);
  return !mapped && a !== 255 && !(a === 254 && (b & 0xc0) === 0x80);
}
