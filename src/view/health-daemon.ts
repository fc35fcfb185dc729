import { type StatusOptions, statusLines } from './status.ts';
import { statusLines2018 } from './status-2018.ts';
import { layoutTabs, row, trimLines } from './tabwriter.ts';
import type { Opt, StatusView } from './types.ts';

/** The health agent's answer about itself. */
export interface HealthDaemonView {
  readonly cilium?: Opt<StatusView>;
  readonly uptime?: Opt<string>;
  readonly 'system-load'?: Opt<{
    readonly last1min?: Opt<string>;
    readonly last5min?: Opt<string>;
    readonly last15min?: Opt<string>;
  }>;
}

/** `health get`: the health agent's uptime and load, and the state of the agent beside it. */
export function healthDaemonText(daemon: HealthDaemonView, options: StatusOptions): string {
  const load = daemon['system-load'] ?? {};
  const status = daemon.cilium ?? {};
  const text =
    row(['Daemon uptime:', daemon.uptime ?? '']) +
    row([
      'Node load:',
      [load.last1min, load.last5min, load.last15min].map((value) => value ?? '').join(' '),
    ]) +
    (options.compat === '2018' ? statusLines2018(status, options) : statusLines(status, options));
  const laidOut = layoutTabs(text, { minWidth: 2 });
  return options.compat === undefined ? trimLines(laidOut) : laidOut;
}
