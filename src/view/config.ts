import { layoutTabs, row, trimLines } from './tabwriter.ts';
import type { Compat, Opt } from './types.ts';

type Values = Readonly<Record<string, unknown>>;

interface SpecView {
  readonly options?: Opt<Values>;
  readonly 'policy-enforcement'?: Opt<string>;
}

export interface ConfigView {
  readonly status?: Opt<{
    readonly realized?: Opt<SpecView>;
    readonly immutable?: Opt<Values>;
    readonly nodeMonitor?: Opt<{ readonly npages?: Opt<number> }>;
    readonly 'k8s-endpoint'?: Opt<string>;
    readonly 'k8s-configuration'?: Opt<string>;
    readonly daemonConfigurationMap?: Opt<Values>;
    readonly configurationOrigins?: Opt<Readonly<Record<string, string>>>;
  }>;
}

/** `1` and `true` are Enabled, `0` and `false` Disabled; what is no scalar is JSON. */
function valueText(value: unknown): string {
  if (value === true || value === '1' || value === 'true') return 'Enabled';
  if (value === false || value === '0' || value === 'false') return 'Disabled';
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '');
}

function lines(values: Values, format: (key: string, value: string) => string): string {
  return Object.keys(values)
    .sort()
    .map((key) => format(key, valueText(values[key])))
    .join('');
}

const format119 = (key: string, value: string): string => `${key.padEnd(34)}: ${value}\n`;
const format2018 = (key: string, value: string): string => `${key.padEnd(24)} ${value}\n`;

/** Options that may be changed while the agent runs. */
export function mutableOptions(config: ConfigView): Values {
  const { realized, nodeMonitor } = config.status ?? {};
  return {
    ...realized?.options,
    ...(nodeMonitor ? { MonitorNumPages: nodeMonitor.npages ?? 0 } : {}),
    ...((realized?.['policy-enforcement'] ?? '') === ''
      ? {}
      : { PolicyEnforcement: realized?.['policy-enforcement'] }),
  };
}

function config2018(config: ConfigView): string {
  const { realized, immutable, nodeMonitor } = config.status ?? {};
  const tail: Values = {
    'k8s-configuration': config.status?.['k8s-configuration'] ?? '',
    'k8s-endpoint': config.status?.['k8s-endpoint'] ?? '',
  };
  const last = {
    PolicyEnforcement: realized?.['policy-enforcement'] ?? '',
    MonitorNumPages: nodeMonitor?.npages ?? 0,
  };
  return (
    lines({ ...immutable, ...realized?.options }, format2018) +
    lines(tail, format2018) +
    Object.entries(last)
      .map(([key, value]) => format2018(key, String(value)))
      .join('')
  );
}

export interface ConfigTextOptions {
  readonly compat?: Compat;
  /** Also what is fixed while the agent runs. */
  readonly all?: boolean;
  readonly readOnly?: boolean;
  readonly noHeaders?: boolean;
}

/** Every option with its value, whether it may be changed while the agent runs, and where it came from. */
function originTable(config: ConfigView, options: ConfigTextOptions): string {
  const { immutable, daemonConfigurationMap, configurationOrigins } = config.status ?? {};
  const live = mutableOptions(config);
  const fixed = { ...daemonConfigurationMap, ...immutable };
  const line = (values: Values, change: string) => (key: string) =>
    row([key, valueText(values[key]), change, configurationOrigins?.[key] ?? '']);
  const fixedRows = Object.keys(fixed).sort().map(line(fixed, 'at start'));
  const rows = options.readOnly === true ? [] : Object.keys(live).sort().map(line(live, 'at any time'));
  const header = options.noHeaders === true ? '' : row(['OPTION', 'VALUE', 'SETTABLE', 'ORIGIN']);
  return trimLines(layoutTabs(header + [...rows, ...fixedRows].join(''), { minWidth: 2 }));
}

/** `config`. */
export function configText(config: ConfigView, options: ConfigTextOptions = {}): string {
  if (options.compat === undefined) return originTable(config, options);
  if (options.compat === '2018') return config2018(config);
  const fixed = { ...config.status?.daemonConfigurationMap, ...config.status?.immutable };
  const readOnly = `#### Read-only configurations ####\n${lines(fixed, format119)}`;
  const readWrite = `##### Read-write configurations #####\n${lines(mutableOptions(config), format119)}`;
  if (options.readOnly === true) return readOnly;
  return options.all === true ? `${readOnly}\n${readWrite}` : readWrite;
}

/** The options of an endpoint: `endpoint config`. */
export function optionText(values: Opt<Values>, compat: Compat): string {
  return lines(values ?? {}, compat === '2018' ? format2018 : format119);
}
