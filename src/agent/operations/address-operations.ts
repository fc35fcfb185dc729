import { type AgentOperations, ApiError } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import { formatIp, parseCidr, parseIp } from '../../base/ip.ts';
import { hasLabels, parseLabels } from '../../model/labels.ts';
import { addressesOf } from '../endpoint-addresses.ts';
import type { Allocation } from '../ipam.ts';
import { ipamAnswer, ipamCall } from '../ipam-answers.ts';
import type { IpcacheLine } from '../ipcache.ts';
import { notFound, type OperationsDeps, refuseWhileStarting } from './deps.ts';
import { findIdentity } from './identity-operations.ts';

type AddressOperations = Pick<AgentOperations, 'listIps' | 'allocateIps' | 'allocateIp' | 'releaseIp'>;

async function identityHas(
  deps: OperationsDeps,
  line: IpcacheLine,
  wanted: ReturnType<typeof parseLabels>,
): Promise<boolean> {
  const identity = await findIdentity(deps, line.identity);
  return identity !== undefined && hasLabels(identity.labels, wanted);
}

function ipView(deps: OperationsDeps, line: IpcacheLine): Api.IPListEntry {
  const [namespace = '', name = ''] =
    line.source === 'node' ? ['', line.owner ?? ''] : (line.owner ?? '').split('/');
  const own = deps.cluster.nodes()[0];
  const hostIP = line.hostIp ?? (line.source === 'local' ? (own?.ipv4 ?? own?.ipv6) : undefined);
  return {
    cidr: line.cidr,
    identity: line.identity,
    ...(hostIP !== undefined && { hostIP }),
    metadata: { source: line.source, namespace, name },
  };
}

function isWithin(cidr: string, wanted: string): boolean {
  const [inner, outer] = [parseCidr(cidr), parseCidr(wanted)];
  if (inner.family !== outer.family || inner.length < outer.length) return false;
  return formatIp(parseCidr(`${formatIp(inner.bytes)}/${outer.length}`).bytes) === formatIp(outer.bytes);
}

/** Addresses: `/ip` and `/ipam`. */
export function addressOperations(deps: OperationsDeps): AddressOperations {
  return {
    async listIps(filter: {
      readonly cidr?: string | undefined;
      readonly labels: readonly string[];
    }): Promise<readonly Api.IPListEntry[]> {
      const wanted = parseLabels(filter.labels, 'any');
      const found: Api.IPListEntry[] = [];
      for (const line of deps.ipcache.list()) {
        if (filter.cidr !== undefined && !isWithin(line.cidr, filter.cidr)) continue;
        if (wanted.length > 0 && !(await identityHas(deps, line, wanted))) continue;
        found.push(ipView(deps, line));
      }
      const filtered = filter.cidr !== undefined || wanted.length > 0;
      if (filtered && found.length === 0) throw notFound('no address matches');
      return found;
    },

    async allocateIps(options: {
      readonly family?: 'ipv4' | 'ipv6' | undefined;
      readonly owner?: string | undefined;
      readonly expiration: boolean;
    }): Promise<Api.IPAMResponse> {
      refuseWhileStarting(deps);
      const { ipam } = deps;
      const owner = options.owner ?? '';
      const wanted = ([4, 6] as const).filter((family) =>
        options.family === undefined ? ipam.enabled(family) : options.family === `ipv${family}`,
      );
      const given: Allocation[] = [];
      try {
        for (const family of wanted)
          given.push(ipamCall(() => ipam.allocateNext(family, owner, options.expiration)));
      } catch (error) {
        for (const { ip } of given) ipam.release(ip);
        throw error;
      }
      return ipamAnswer(given, ipam, deps.cluster.nodes()[0]);
    },

    async allocateIp(ip: string, options: { readonly owner?: string | undefined }): Promise<void> {
      refuseWhileStarting(deps);
      ipamCall(() => deps.ipam.allocate(ip, options.owner ?? ''));
    },

    async releaseIp(ip: string): Promise<void> {
      const { manager, ipam } = deps;
      const text = formatIp(parseIp(ip));
      const user = manager.list().find(({ spec }) => addressesOf(spec).includes(text));
      if (user !== undefined) throw new ApiError(409, `${text} is in use by endpoint ${user.id}`);
      ipamCall(() => ipam.release(text));
    },
  };
}
