import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { bpfEndpoints, bpfIpcache, bpfMetrics, bpfPolicy, bpfPolicyList } from '../../src/view/bpf.ts';
import { lbBackends, lbFrontends, lbList, lbTexts } from '../../src/view/bpf-lb.ts';
import { configText, optionText } from '../../src/view/config.ts';
import { endpointList, endpointLog } from '../../src/view/endpoint.ts';
import { healthStatus } from '../../src/view/health.ts';
import { healthDaemonText } from '../../src/view/health-daemon.ts';
import { toJson } from '../../src/view/json.ts';
import { identityList, ipList, mapEntries, mapList, nodeList, policyText } from '../../src/view/listing.ts';
import type { ModuleHealth } from '../../src/view/modules.ts';
import { fqdnCacheTable, selectorTable } from '../../src/view/policy-tables.ts';
import { serviceList } from '../../src/view/service.ts';
import { briefProblem, type StatusInput, statusText } from '../../src/view/status.ts';
import { statusText2018 } from '../../src/view/status-2018.ts';
import type { HealthView, IdentityView, IpView, MapView, StatusView } from '../../src/view/types.ts';
import { endpointRows, ipcacheRows, lbRows, metricRows, policyRows } from './cilium-maps.ts';
import { agentAnswer, golden, healthAnswer, realAnswer, recordedLines, recordedReal } from './golden.ts';

const health = healthAnswer<HealthView>('/v1beta/status');

function statusInput(): StatusInput {
  const rows = recordedLines<{ readonly obj: ModuleHealth }>('/statedb/query');
  return { status: agentAnswer<StatusView>('/v1/healthz'), health, modules: rows.map(({ obj }) => obj) };
}

const labels = new Map([
  [9270, ['k8s:class=deathstar', 'k8s:org=empire']],
  [2, ['reserved:world']],
]);

/** Recorded output -> how we make it. The ages in `status` fix the clock of the recording. */
const CASES: Readonly<Record<string, () => string>> = {
  'v1.19.4/endpoint_list.txt': () => endpointList(agentAnswer('/v1/endpoint'), { compat: '1.19' }),
  'v1.19.4/endpoint_list_--no-headers.txt': () =>
    endpointList(agentAnswer('/v1/endpoint'), { compat: '1.19', noHeaders: true }),
  'v2018/endpoint_list.txt': () => endpointList(agentAnswer('/v1/endpoint'), { compat: '2018' }),
  'v1.19.4/endpoint_log_5.txt': () => endpointLog(agentAnswer('/v1/endpoint/5/log'), { compat: '1.19' }),
  'v1.19.4/identity_list.txt': () =>
    identityList(agentAnswer<IdentityView[]>('/v1/identity'), { compat: '1.19' }),
  'v1.19.4/ip_list.txt': () =>
    ipList(agentAnswer<IpView[]>('/v1/ip'), { compat: '1.19', labelsOf: (id) => labels.get(id) }),
  'v1.19.4/ip_list_-n.txt': () => ipList(agentAnswer<IpView[]>('/v1/ip'), { compat: '1.19' }),
  'v1.19.4/node_list.txt': () =>
    nodeList(agentAnswer<{ 'nodes-added': [] }>('/v1/cluster/nodes')['nodes-added'], { compat: '1.19' }),
  'v2018/node_list.txt': () =>
    nodeList(agentAnswer<StatusView>('/v1/healthz').cluster?.nodes ?? [], { compat: '2018' }),
  'v1.19.4/map_list.txt': () => mapList(agentAnswer<{ maps: MapView[] }>('/v1/map').maps, { compat: '1.19' }),
  'v1.19.4/map_get_cilium_lxc.txt': () =>
    mapEntries(agentAnswer<MapView>('/v1/map/cilium_lxc'), { compat: '1.19' }),
  'v1.19.4/policy_get.txt': () => policyText(agentAnswer('/v1/policy')),
  'v2018/policy_get.txt': () => policyText(agentAnswer('/v1/policy')),
  'v1.19.4/health_status.txt': () => healthStatus(health, { compat: '1.19' }),
  'v1.19.4/health_status_--succinct.txt': () => healthStatus(health, { compat: '1.19', succinct: true }),
  'v2018/health_status.txt': () => healthStatus(health, { compat: '2018' }),
  'v1.19.4/status.txt': () =>
    statusText(statusInput(), { compat: '1.19', nowMs: Date.parse('2026-11-22T22:29:41Z') }),
  'v1.19.4/status_--verbose.txt': () =>
    statusText(statusInput(), { compat: '1.19', nowMs: Date.parse('2026-11-22T22:29:42Z'), verbose: true }),
  'v2018/status.txt': () =>
    statusText2018(statusInput(), { compat: '2018', nowMs: Date.parse('2026-11-22T22:29:43Z') }),
  'v1.19.4/status_--brief.txt': () => `error in ${briefProblem(statusInput().status)}\n`,
  'v1.19.4/policy_selectors.txt': () =>
    selectorTable(agentAnswer('/v1/policy/selectors'), { compat: '1.19' }),
  'v1.19.4/fqdn_cache_list.txt': () => fqdnCacheTable(agentAnswer('/v1/fqdn/cache'), { compat: '1.19' }),
  'v1.19.4/config.txt': () => configText(agentAnswer('/v1/config'), { compat: '1.19' }),
  'v2018/config.txt': () => configText(agentAnswer('/v1/config'), { compat: '2018' }),
  'v1.19.4/endpoint_config_5.txt': () =>
    optionText(
      agentAnswer<{ realized: { options: Record<string, unknown> } }>('/v1/endpoint/5/config').realized
        .options,
      '1.19',
    ),
  'v1.19.4/health_get.txt': () =>
    healthDaemonText(healthAnswer('/v1beta/healthz'), { compat: '1.19', nowMs: 0 }),
  'v2018/health_get.txt': () =>
    healthDaemonText(healthAnswer('/v1beta/healthz'), { compat: '2018', nowMs: 0 }),
  'v1.19.4/bpf_policy_get_7415.txt': () => bpfPolicy(policyRows('07415'), { compat: '1.19' }),
  'v1.19.4/bpf_policy_list.txt': () => {
    const path = '/sys/fs/bpf/tc/globals/cilium_policy_v2_07415';
    return bpfPolicyList([{ endpoint: 7415, path, rows: policyRows('07415') }], { compat: '1.19' });
  },
  'v1.19.4/service_list.txt': () => serviceList(agentAnswer('/v1/service'), { compat: '1.19' }),
  'v2018/service_list.txt': () => serviceList(agentAnswer('/v1/service'), { compat: '2018' }),
  'v1.19.4/bpf_lb_list_--backends.txt': () => lbBackends(lbRows(), { compat: '1.19' }),
  // Theirs ends with an empty line more.
  'v1.19.4/bpf_lb_list_-o_json.txt': () => `${toJson(lbTexts(lbRows()))}\n`,
  'v1.19.4/bpf_metrics_list.txt': () => bpfMetrics(metricRows(), { compat: '1.19' }),
};

/** Tables whose rows come in random order in the record: header first, then the same set of lines. */
const UNORDERED: Readonly<Record<string, () => string>> = {
  'v1.19.4/bpf_ipcache_list.txt': () => bpfIpcache(ipcacheRows(), { compat: '1.19' }),
  'v1.19.4/bpf_lb_list.txt': () => lbList(lbRows(), { compat: '1.19' }),
  'v1.19.4/bpf_lb_list_--frontends.txt': () => lbFrontends(lbRows(), { compat: '1.19' }),
  'v1.19.4/bpf_endpoint_list.txt': () => bpfEndpoints(endpointRows(), { compat: '1.19' }),
};

/** Outputs of a real 1.19.4 agent beside its own answers. */
const REAL: Readonly<Record<string, () => string>> = {
  'endpoint-list.txt': () => endpointList(realAnswer('api-endpoint.json'), { compat: '1.19' }),
  'identity-list.txt': () =>
    identityList(realAnswer<IdentityView[]>('api-identity.json'), { compat: '1.19' }),
  'node-list.txt': () =>
    nodeList(realAnswer<{ 'nodes-added': [] }>('api-cluster_nodes.json')['nodes-added'], { compat: '1.19' }),
  'ip-list.txt': () => {
    const identities = new Map(
      realAnswer<IdentityView[]>('api-identity.json').map((i) => [i.id, i.labels ?? []]),
    );
    return ipList(realAnswer<IpView[]>('api-ip.json'), {
      compat: '1.19',
      labelsOf: (id) => identities.get(id),
    });
  },
  'policy-get.txt': () => policyText(realAnswer('api-policy.json')),
  'health-status.txt': () => healthStatus(realAnswer('healthapi-status.json'), { compat: '1.19' }),
  'health-status-verbose.txt': () =>
    healthStatus(realAnswer('healthapi-status.json'), { compat: '1.19', verbose: true }),
};

describe('layouts beside a real agent', () => {
  for (const [name, render] of Object.entries(REAL)) {
    it(`prints ${name} to the byte`, () => assert.equal(render(), recordedReal(name)));
  }

  it('prints status.txt to the byte up to what changed between the two recordings', () => {
    const input = {
      status: realAnswer<StatusView>('api-healthz.json'),
      health: realAnswer<HealthView>('healthapi-status.json'),
    };
    const text = statusText(input, { compat: '1.19', nowMs: Date.parse('2026-11-22T22:41:05Z') });
    const stable = (line: string): boolean =>
      !/events lost|Hubble|Cluster health|Modules Health|^Name |^$/.test(line);
    const blanks = (line: string): string => line.replace(/ +/g, ' ');
    const lines = (whole: string): string[] => whole.split('\n').filter(stable).map(blanks);
    assert.deepEqual(lines(text), lines(recordedReal('status.txt')));
  });
});

describe('unordered tables beside the recorded outputs', () => {
  for (const [name, render] of Object.entries(UNORDERED)) {
    it(`prints the lines of ${name}`, () => {
      assert.deepEqual(render().split('\n').sort(), golden(name).split('\n').sort());
    });
  }
});

describe('layouts beside the recorded outputs', () => {
  for (const [name, render] of Object.entries(CASES)) {
    it(`prints ${name} to the byte`, () => {
      assert.equal(render(), golden(name));
    });
  }
});

/** Recorded outputs that no case above renders, and why. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'v1.19.4/monitor.txt': 'monitor.test.ts',
  'v1.19.4/monitor-t_drop.txt': 'monitor.test.ts',
  'v1.19.4/monitor--related-to_7415.txt': 'monitor.test.ts',
  'v2018/monitor.txt': 'monitor.test.ts',
  'v1.19.4/monitor--hex.txt': 'equal to monitor.txt: the record shows a defect of the tool',
  'v1.19.4/monitor-v.txt': 'needs debug events, which we do not emit',
  'v1.19.4/monitor-j.txt': 'text lines inside JSON contradict an invariant; dissected layers are not kept',
  'v2018/monitor-v.txt': 'needs dissected layers, which are not kept',
  'v2018/monitor--json.txt': 'needs dissected layers, which are not kept',
  'v1.19.4/bpf_ct_list.txt': 'our conntrack keeps neither packets nor bytes a flow',
  'v1.19.4/bpf_policy_get_7415_-o_json.txt': "the map's raw structs; ours are other structs",
  'v1.19.4/bpf_ipcache_list_-o_json.txt': "the map's raw texts; ours are objects",
  'v1.19.4/bpf_endpoint_list_-o_json.txt': "the map's raw texts; ours are objects",
  'v1.19.4/bpf_metrics_list_-o_json.txt': 'lines of the program are not counted apart',
  'v1.19.4/lrp_list.txt': 'no local redirects',
  'v1.19.4/prefilter_list.txt': 'no prefilter',
  'v2018/prefilter_list.txt': 'no prefilter',
};

describe('the recorded outputs', () => {
  it('are each rendered by a case, or named with the reason why not', () => {
    const folder = join(import.meta.dirname, '..', 'fixtures', 'cli-golden');
    const recorded = globSync('v*/*.txt', { cwd: folder }).sort();
    const known = [...Object.keys(CASES), ...Object.keys(UNORDERED), ...Object.keys(ELSEWHERE)].sort();
    assert.deepEqual(known, recorded);
  });
});
