import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { endpointList, endpointLog } from '../../src/view/endpoint.ts';
import { healthStatus } from '../../src/view/health.ts';
import { identityList, ipList, mapEntries, mapList, nodeList, policyText } from '../../src/view/listing.ts';
import type { ModuleHealth } from '../../src/view/modules.ts';
import { briefProblem, type StatusInput, statusText } from '../../src/view/status.ts';
import { statusText2018 } from '../../src/view/status-2018.ts';
import type { HealthView, IdentityView, IpView, MapView, StatusView } from '../../src/view/types.ts';
import { agentAnswer, golden, healthAnswer, recordedLines } from './golden.ts';

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
};

describe('layouts beside the recorded outputs', () => {
  for (const [name, render] of Object.entries(CASES)) {
    it(`prints ${name} to the byte`, () => {
      assert.equal(render(), golden(name));
    });
  }
});
