import { layoutTabs, listed, row, trimLines } from './tabwriter.ts';
import type { Opt, ViewOptions } from './types.ts';

export interface ServiceAddressView {
  readonly ip?: Opt<string>;
  readonly port?: Opt<number>;
  readonly protocol?: Opt<string>;
  readonly scope?: Opt<string>;
  readonly state?: Opt<string>;
  readonly weight?: Opt<number>;
}

export interface ServiceSpecView {
  readonly id?: Opt<number>;
  readonly 'frontend-address'?: Opt<ServiceAddressView>;
  readonly 'backend-addresses'?: Opt<readonly Opt<ServiceAddressView>[]>;
  readonly flags?: Opt<{
    readonly type?: Opt<string>;
    readonly name?: Opt<string>;
    readonly namespace?: Opt<string>;
  }>;
}

export interface ServiceView {
  readonly spec?: Opt<ServiceSpecView>;
  readonly status?: Opt<{ readonly realized?: Opt<ServiceSpecView> }>;
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
function socketText({ ip, port }: ServiceAddressView): string {
  const text = ip ?? '';
  return `${text.includes(':') ? `[${text}]` : text}:${port ?? 0}`;
}

function protocolText({ protocol }: ServiceAddressView): string {
  return (protocol ?? 'TCP').toUpperCase();
}

/** `/i`: what it is inside of the cluster only. */
function frontendText(address: ServiceAddressView, options: ViewOptions): string {
  if (options.compat === '2018') return socketText(address);
  return `${socketText(address)}/${protocolText(address)}${address.scope === 'internal' ? '/i' : ''}`;
}

function backendText(backend: ServiceAddressView, at: number, options: ViewOptions): string {
  const text = `${at + 1} => ${socketText(backend)}`;
  if (options.compat === '2018') return (backend.weight ?? 0) > 0 ? `${text} (W: ${backend.weight})` : text;
  return `${text}/${protocolText(backend)} (${backend.state ?? 'active'})`;
}

function nameText({ flags }: ServiceSpecView): string {
  const { name, namespace } = flags ?? {};
  return [namespace, name].filter(Boolean).join('/');
}

interface ServiceLine {
  readonly wanted: ServiceSpecView;
  /** What is in the datapath. */
  readonly realized: ServiceSpecView;
}

function cellsOf({ wanted, realized }: ServiceLine, options: ViewOptions): readonly string[] {
  const head = [String(realized.id ?? 0), frontendText(realized['frontend-address'] ?? {}, options)];
  if (options.compat === '2018') return head;
  const type = wanted.flags?.type ?? realized.flags?.type ?? '';
  return options.compat === '1.19' ? [...head, type] : [...head, type, nameText(wanted)];
}

/** `service list` and `service get`: by id, what the datapath has. */
export function serviceList(services: readonly ServiceView[], options: ViewOptions = {}): string {
  const lines = services.map(({ spec, status }): ServiceLine => {
    const realized = status?.realized ?? spec ?? {};
    return { wanted: spec ?? {}, realized };
  });
  lines.sort((a, b) => (a.realized.id ?? 0) - (b.realized.id ?? 0));
  const rows = lines.map((line) => {
    const cells = cellsOf(line, options);
    const backends = (line.realized['backend-addresses'] ?? []).filter((one) => one !== null);
    const texts = backends.map((backend, i) => backendText(backend ?? {}, i, options));
    return listed([...cells, ''], cells.length, texts, true);
  });
  const middle =
    options.compat === '2018' ? [] : options.compat === '1.19' ? ['Service Type'] : ['Service Type', 'Name'];
  const header = options.noHeaders === true ? '' : row(['ID', 'Frontend', ...middle, 'Backend'], true);
  const text = layoutTabs(header + rows.join(''), { minWidth: 5 });
  return options.compat === undefined ? trimLines(text) : text;
}
