import { layoutTabs, listed, row, trimLines } from './tabwriter.ts';
import type { ViewOptions } from './types.ts';

/** One entry of the map of services: slot 0 is the frontend, the others its active backends. */
export interface LbServiceRow {
  /** `10.96.0.10:80`. */
  readonly frontend: string;
  /** `TCP`. */
  readonly protocol: string;
  readonly slot: number;
  /** Of the service: what Cilium calls REVNAT_ID. */
  readonly id: number;
  /** Of slot 0. */
  readonly count: number;
  readonly type: string;
  readonly affinitySeconds: number;
  /** Of another slot; 0: none. */
  readonly backend: number;
}

export interface LbBackendRow {
  readonly id: number;
  /** `10.0.0.1:8080`. */
  readonly address: string;
  readonly protocol: string;
  readonly state: string;
}

export interface LbRows {
  readonly services: readonly LbServiceRow[];
  readonly backends: readonly LbBackendRow[];
}

/** As the flags of Cilium's map of services. */
const TYPE_FLAGS: Readonly<Record<string, number>> = {
  ExternalIPs: 1,
  NodePort: 2,
  HostPort: 8,
  LoadBalancer: 32,
};
const AFFINITY_FLAG = 16;

function finish(text: string, options: ViewOptions): string {
  const laidOut = layoutTabs(text, { minWidth: 5 });
  return options.compat === undefined ? trimLines(laidOut) : laidOut;
}

function header(cells: readonly string[], options: ViewOptions): string {
  return options.noHeaders === true ? '' : row(cells);
}

function keyText({ frontend, protocol, slot }: LbServiceRow): string {
  return `${frontend}/${protocol} (${slot})`;
}

/** By service, protocol and slot. */
export function sortLb(rows: readonly LbServiceRow[]): LbServiceRow[] {
  return [...rows].sort(
    (a, b) =>
      a.id - b.id || (a.frontend < b.frontend ? -1 : a.frontend > b.frontend ? 1 : 0) || a.slot - b.slot,
  );
}

/** Stands in slot 0 for a backend. */
function noAddress({ frontend }: LbServiceRow): string {
  return frontend.startsWith('[') ? '[::]:0' : '0.0.0.0:0';
}

/** Of slot 0: what the frontend is, and that nothing from outside of this node's endpoints reaches it. */
function headText(service: LbServiceRow): string {
  const words = [service.type, ...(service.affinitySeconds > 0 ? ['sessionAffinity'] : []), 'non-routable'];
  return `${noAddress(service)} (${service.id}) (0) [${words.join(', ')}] `;
}

function targetText(service: LbServiceRow, backends: ReadonlyMap<number, LbBackendRow>): string {
  if (service.slot === 0) return headText(service);
  const backend = backends.get(service.backend);
  if (backend === undefined) return `backend ${service.backend} not found`;
  return `${backend.address}/${backend.protocol} (${service.id}) (${service.slot})`;
}

function byId({ backends }: LbRows): ReadonlyMap<number, LbBackendRow> {
  return new Map(backends.map((backend) => [backend.id, backend]));
}

/** As Cilium's JSON has it: the key's text -> the value's, sorted by key. */
export function lbTexts(rows: LbRows): Readonly<Record<string, readonly string[]>> {
  const backends = byId(rows);
  const texts = rows.services.map((one) => [keyText(one), [targetText(one, backends)]] as const);
  return Object.fromEntries(texts.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The 2018 form knew no protocols, and one row a frontend. */
function lb2018(rows: LbRows, options: ViewOptions): string {
  const backends = byId(rows);
  const targets = new Map<string, string[]>();
  for (const one of sortLb(rows.services)) {
    const address = one.slot === 0 ? noAddress(one) : backends.get(one.backend)?.address;
    const text = address === undefined ? `backend ${one.backend} not found` : `${address} (${one.id})`;
    targets.set(one.frontend, [...(targets.get(one.frontend) ?? []), text]);
  }
  const lines = [...targets].map(([frontend, list]) => listed([frontend, ''], 1, list, true));
  return finish(header(['SERVICE ADDRESS', 'BACKEND ADDRESS'], options) + lines.join(''), options);
}

/** `bpf lb list`. */
export function lbList(rows: LbRows, options: ViewOptions = {}): string {
  if (options.compat === '2018') return lb2018(rows, options);
  const backends = byId(rows);
  const lines = sortLb(rows.services).map((one) => row([keyText(one), targetText(one, backends)], true));
  const names = ['SERVICE ADDRESS', 'BACKEND ADDRESS (REVNAT_ID) (SLOT)'];
  return finish(header(names, options) + lines.join(''), options);
}

function flagsOf({ slot, type, affinitySeconds }: LbServiceRow): number {
  return slot > 0 ? 0 : (TYPE_FLAGS[type] ?? 0) | (affinitySeconds > 0 ? AFFINITY_FLAG : 0);
}

/** `bpf lb list --frontends`. */
export function lbFrontends({ services }: Pick<LbRows, 'services'>, options: ViewOptions = {}): string {
  const lines = sortLb(services).map((one) => {
    const flags = `[0x${flagsOf(one).toString(16)} 0x0]`;
    return row([keyText(one), `${one.backend} ${one.count}[0] (${one.id}) ${flags}`], true);
  });
  return finish(header(['SERVICE ADDRESS', 'BACKEND ID'], options) + lines.join(''), options);
}

/** `bpf lb list --backends`; Cilium leaves the port out. */
export function lbBackends({ backends }: Pick<LbRows, 'backends'>, options: ViewOptions = {}): string {
  const sorted = [...backends].sort((a, b) => a.id - b.id);
  if (options.compat === undefined) {
    const lines = sorted.map((one) => row([one.id, `${one.address}/${one.protocol}`, one.state]));
    return finish(header(['ID', 'BACKEND ADDRESS', 'STATE'], options) + lines.join(''), options);
  }
  const host = ({ address, protocol }: LbBackendRow): string =>
    `${protocol}://${address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')}`;
  const lines = sorted.map((one) => row([one.id, host(one)], true));
  return finish(header(['ID', 'BACKEND ADDRESS (REVNAT_ID) (SLOT)'], options) + lines.join(''), options);
}

/** `bpf lb list --revnat`: by what answers come from. */
export function lbRevNat({ services }: Pick<LbRows, 'services'>, options: ViewOptions = {}): string {
  const heads = sortLb(services).filter(({ slot }) => slot === 0);
  const lines = heads.map(({ id, frontend }) => row([id, frontend], options.compat !== undefined));
  const second = options.compat === undefined ? 'SERVICE ADDRESS' : 'BACKEND ADDRESS (REVNAT_ID) (SLOT)';
  return finish(header(['ID', second], options) + lines.join(''), options);
}
