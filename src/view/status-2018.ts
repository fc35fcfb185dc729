import type { StatusInput, StatusOptions } from './status.ts';
import { healthTail } from './status.ts';
import { controllerLines, nested } from './status-parts.ts';
import { layoutTabs, row } from './tabwriter.ts';
import type { Opt, StateView, StatusView } from './types.ts';

function stateRow(label: string, state: Opt<StateView>): string {
  return state ? row([`${label}:`, state.state ?? '', state.msg ?? '']) : '';
}

/** `used/total allocated` of the local node's range; the total leaves out the network address. */
function pool(label: string, used: Opt<readonly string[]>, range: Opt<string>, bits: number): string {
  const length = Number((range ?? '').split('/')[1] ?? bits);
  const total = 2n ** BigInt(bits - length) - 1n;
  return row([`${label} address pool:`, `${(used ?? []).length}/${total} allocated`]);
}

function pools(status: StatusView): string {
  if (!status.ipam) return '';
  const self = (status.cluster?.nodes ?? []).find((node) => node.name === status.cluster?.self);
  const { ipv4, ipv6 } = self?.['primary-address'] ?? {};
  return (
    pool('IPv4', status.ipam?.ipv4, ipv4?.['alloc-range'], 32) +
    pool('IPv6', status.ipam?.ipv6, ipv6?.['alloc-range'], 128)
  );
}

function monitor(view: StatusView['nodeMonitor']): string {
  if (!view) return row(['NodeMonitor:', 'Disabled']);
  const pages = `${view.npages ?? 0}x${view.pagesize ?? 0} of shared memory`;
  return (
    row(['NodeMonitor:', `Listening for events on ${view.cpus ?? 0} CPUs with ${pages}`]) +
    row(['', `${view.lost ?? 0} events lost, ${view.unknown ?? 0} unknown notifications`])
  );
}

function proxy(view: StatusView['proxy'], all: boolean): string {
  if (!view) return row(['Proxy Status:', 'No managed proxy redirect']);
  const head = row(['Proxy Status:', `OK, ip ${view.ip ?? ''}, port-range ${view['port-range'] ?? ''}`]);
  const redirects = all ? (view.redirects ?? []) : [];
  if (redirects.length === 0) return head;
  const rows = redirects.map((r) => row([`  ${r.proxy ?? ''}`, r.name ?? '', r['proxy-port'] ?? 0]));
  return head + nested(row(['  Protocol', 'Redirect', 'Proxy Port']) + rows.join(''));
}

/** What the tool of July 2018 said of the agent itself, with tabs. */
export function statusLines2018(status: StatusView, options: StatusOptions): string {
  const all = options.verbose === true;
  const apis = status.kubernetes?.['k8s-api-versions'] ?? [];
  return [
    stateRow('KVStore', status.kvstore),
    stateRow('ContainerRuntime', status['container-runtime']),
    stateRow('Kubernetes', status.kubernetes),
    apis.length > 0
      ? row(['Kubernetes APIs:', `[${apis.map((api) => JSON.stringify(api)).join(', ')}]`])
      : '',
    stateRow('Cilium', status.cilium),
    monitor(status.nodeMonitor),
    stateRow('Cilium health daemon', status.cluster?.ciliumHealth),
    pools(status),
    controllerLines(status.controllers ?? [], all || options.allControllers === true, options.nowMs),
    proxy(status.proxy, all || options.allRedirects === true),
  ].join('');
}

/** `status` as the tool of July 2018 printed it. */
export function statusText2018(input: StatusInput, options: StatusOptions): string {
  const allHealth = options.verbose === true || options.allHealth === true;
  const tail = healthTail(input.health, { ...options, compat: '2018', verbose: false, allHealth });
  return layoutTabs(statusLines2018(input.status, options) + nested(tail), { minWidth: 2 });
}
