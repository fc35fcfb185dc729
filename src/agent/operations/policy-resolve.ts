import { ApiError } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import { RESERVED_IDENTITIES } from '../../model/identity.ts';
import { formatLabels, hasLabels, LabelKey, labelSet, parseLabels } from '../../model/labels.ts';
import { Protocol } from '../../model/map-state.ts';
import {
  l4Text,
  lacksNamespace,
  type TraceL4,
  type TraceParty,
  type TraceRule,
  tracePolicy,
  traceView,
} from '../../policy/index.ts';
import { traceText } from '../../view/trace.ts';
import type { OperationsDeps } from './deps.ts';

const PROTOCOLS: Readonly<Record<string, readonly number[]>> = {
  ANY: [Protocol.tcp, Protocol.udp],
  TCP: [Protocol.tcp],
  UDP: [Protocol.udp],
  SCTP: [Protocol.sctp],
};

/** The one identity that carries the labels, or just these labels; those without a source are a pod's. */
async function partyOf(
  deps: OperationsDeps,
  texts: readonly string[],
  rules: readonly TraceRule[],
): Promise<TraceParty> {
  const wanted = parseLabels(texts, 'any');
  const { store, policy, manager } = deps;
  const all = [...RESERVED_IDENTITIES, ...(await store.listIdentities()), ...policy.localIdentities()];
  const [only, second] = all.filter(({ id, labels }) => id !== 0 && hasLabels(labels, wanted));
  if (only !== undefined && second === undefined) {
    const local = manager.list().find(({ identity }) => identity?.id === only.id);
    const title = `${formatLabels(only.labels).join(',')} (identity ${only.id})`;
    return { title, labels: only.labels, identity: only.id, namedPorts: local?.spec.namedPorts };
  }
  const labels = labelSet(
    wanted.map((label) => (label.source === 'any' ? { ...label, source: 'k8s' } : label)),
  );
  const title = formatLabels(labels).join(',');
  if (!lacksNamespace(labels, rules)) return { title, labels };
  const namespace = { source: 'k8s', key: LabelKey.podNamespace, value: 'default' };
  return { title, labels: labelSet([...labels, namespace]) };
}

/** What one of `dports` stands for: of any protocol, TCP or UDP will do. @throws ApiError 400 */
function alternatives({ port = 0, protocol = 'ANY' }: Api.Port): readonly TraceL4[] {
  const numbers = PROTOCOLS[protocol.toUpperCase()];
  if (numbers === undefined) {
    throw new ApiError(400, `${protocol} has no ports`, { field: 'to.dports' });
  }
  return numbers.map((number) => ({ kind: 'port', protocol: number, port }));
}

/**
 * What the rules say of traffic between labels, as in 2018: `allowed`, or `denied` if one of the ports is. Both ends are
 * judged.
 * @throws ApiError 400
 */
export async function resolvePolicy(
  deps: OperationsDeps,
  { from, to, verbose }: Api.TraceSelector,
): Promise<Api.PolicyTraceResult> {
  const [source, destination] = [from?.labels ?? [], to?.labels ?? []];
  if (source.length === 0) throw new ApiError(400, 'is missing', { field: 'from.labels' });
  if (destination.length === 0) throw new ApiError(400, 'is missing', { field: 'to.labels' });
  const { policy, config } = deps;
  const rules = policy
    .rules([])
    .map(({ id, rule }, i) => ({ id, rule, place: `number ${i + 1} of policy get` }));
  const ends = {
    source: await partyOf(deps, source, rules),
    destination: await partyOf(deps, destination, rules),
  };
  const options = {
    mode: policy.mode,
    allowLocalhost: config.options['allow-localhost'],
    clusterName: config.options['cluster-name'],
    inventory: policy.inventory,
  };
  const trace = (l4: TraceL4): { allowed: boolean; log: string } => {
    const result = tracePolicy(rules, { ...ends, l4 }, options);
    const titles = { from: ends.source.title, to: ends.destination.title };
    const view = { ...titles, traffic: l4Text(l4), notes: [], dependsOn: [], ...traceView(result) };
    return { allowed: result.verdict !== 'denied', log: traceText(view, { verbose: verbose === true }) };
  };
  const ports = to?.dports ?? [];
  const asked: readonly (readonly TraceL4[])[] =
    ports.length === 0 ? [[{ kind: 'any' }]] : ports.map(alternatives);
  const traced = asked.map((ways) => ways.map(trace));
  const allowed = traced.every((ways) => ways.some((way) => way.allowed));
  const log = traced.flatMap((ways) => ways.map((way) => way.log)).join('\n');
  return { verdict: allowed ? 'allowed' : 'denied', log };
}
