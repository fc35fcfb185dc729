import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { bpfEndpoints, bpfIpcache, bpfMetrics, bpfPolicy } from '../../src/view/bpf.ts';
import { lbBackends, lbList } from '../../src/view/bpf-lb.ts';
import { configText } from '../../src/view/config.ts';
import { endpointHealth, endpointLabels, endpointList, endpointLog } from '../../src/view/endpoint.ts';
import { healthStatus } from '../../src/view/health.ts';
import { identityList, ipList, mapEntries, mapList, nodeList } from '../../src/view/listing.ts';
import { fqdnCacheTable, fqdnNamesTable, ruleTable, selectorTable } from '../../src/view/policy-tables.ts';
import { serviceList } from '../../src/view/service.ts';
import { statusText } from '../../src/view/status.ts';
import type { HealthView, IdentityView, IpView, MapView, StatusView } from '../../src/view/types.ts';
import { endpointRows, ipcacheRows, lbRows, metricRows, policyRows } from './cilium-maps.ts';
import { agentAnswer, healthAnswer } from './golden.ts';

/** Our own layouts, kept in test/golden; `UPDATE_GOLDEN=1 node --test test/view/default-layout.test.ts` rewrites them. */
const FOLDER = join(import.meta.dirname, '..', 'golden');
const update = process.env.UPDATE_GOLDEN === '1';

const status = agentAnswer<StatusView>('/v1/healthz');
const health = healthAnswer<HealthView>('/v1beta/status');
const nowMs = Date.parse('2026-11-22T22:29:41Z');

const CASES: Readonly<Record<string, () => string>> = {
  'status.txt': () => statusText({ status, health }, { nowMs }),
  'status-verbose.txt': () => statusText({ status, health }, { nowMs, verbose: true }),
  'status-empty.txt': () => statusText({ status: {}, health: 'unreachable' }, { nowMs }),
  'status-proxy.txt': () => {
    const redirects = [{ name: '7415:ingress:TCP:80', proxy: 'http', 'proxy-port': 10_000 }];
    const where = { ip: '127.0.0.1', 'port-range': '10000-10999', 'total-redirects': 1, redirects };
    const proxy = { ...where, state: 'Failure', msg: 'its process ends again and again' };
    return statusText({ status: { proxy }, health: 'unreachable' }, { nowMs, allRedirects: true });
  },
  'status-services.txt': () => {
    const services = { count: 12, failed: ['10.96.0.9:9/TCP', '[fd00::1]:53/UDP'] };
    const text = (verbose: boolean) =>
      statusText({ status: { services }, health: 'unreachable' }, { nowMs, verbose });
    return text(false) + text(true);
  },
  'service-list.txt': () => serviceList(agentAnswer('/v1/service')),
  'service-list-odd.txt': () =>
    serviceList([
      {},
      { spec: { id: 7 } },
      { spec: { id: 3, flags: { name: 'a\u001b[2Jb', namespace: 'n' } } },
    ]),
  'bpf-lb-list.txt': () => lbList(lbRows()),
  'bpf-lb-list-backends.txt': () => lbBackends(lbRows()),
  'endpoint-list.txt': () => endpointList(agentAnswer('/v1/endpoint')),
  'endpoint-list-odd.txt': () =>
    endpointList([{ id: 9 }, { id: 1, status: { networking: { addressing: [] }, state: 'creating' } }]),
  'endpoint-log.txt': () => endpointLog(agentAnswer('/v1/endpoint/5/log')),
  'endpoint-labels.txt': () => endpointLabels(agentAnswer('/v1/endpoint/5/labels')),
  'endpoint-health.txt': () =>
    endpointHealth({ overallHealth: 'OK', bpf: 'OK', policy: 'Pending', connected: true }),
  'identity-list.txt': () => identityList(agentAnswer<IdentityView[]>('/v1/identity')),
  'ip-list.txt': () => ipList(agentAnswer<IpView[]>('/v1/ip'), { verbose: true }),
  'node-list.txt': () => nodeList(status.cluster?.nodes ?? []),
  'map-list.txt': () => mapList(agentAnswer<{ maps: MapView[] }>('/v1/map').maps),
  'map-get.txt': () => mapEntries(agentAnswer<MapView>('/v1/map/cilium_lxc')),
  'config.txt': () => configText(agentAnswer('/v1/config')),
  'policy-selectors.txt': () => selectorTable(agentAnswer('/v1/policy/selectors'), { verbose: true }),
  'policy-rules.txt': () =>
    ruleTable([
      {
        id: 7,
        name: 'default/rule1',
        endpoints: [5023],
        connections: { allowed: 12, denied: 0, redirected: 3 },
        requests: { allowed: 5, denied: 1 },
      },
      { id: 8, name: '', endpoints: [9, 8, 7, 6, 5, 4, 3, 2, 1] },
      { id: 9, name: 'one\u001b[2Jtwo\nthree', endpoints: [] },
    ]),
  'fqdn-cache.txt': () =>
    fqdnCacheTable([
      { 'endpoint-id': 12, fqdn: 'b.example.', ips: ['2001:db8::1'], ttl: 60, source: 'connection' },
      ...agentAnswer<[]>('/v1/fqdn/cache'),
    ]),
  'fqdn-names.txt': () =>
    fqdnNamesTable({
      FQDNPolicySelectors: [
        { selectorString: 'MatchName: , MatchPattern: *.example.com', regexString: '^.*$' },
        { selectorString: 'MatchName: a.b, MatchPattern: ', regexString: '^a[.]b[.]$' },
      ],
    }),
  'health-status.txt': () => healthStatus(health),
  'health-status-verbose.txt': () => healthStatus(health, { verbose: true }),
  'bpf-policy.txt': () =>
    bpfPolicy(policyRows('07415'), { labelsOf: (id) => (id === 0 ? ['ANY'] : undefined) }),
  'bpf-policy-names.txt': () =>
    bpfPolicy(policyRows('07415'), { ruleName: (id) => (id === 7 ? 'default/rule\u001b1' : undefined) }),
  'bpf-ipcache.txt': () => bpfIpcache(ipcacheRows()),
  'bpf-endpoint.txt': () => bpfEndpoints(endpointRows()),
  'bpf-metrics.txt': () => bpfMetrics(metricRows()),
};

describe('our own layouts', () => {
  for (const [name, render] of Object.entries(CASES)) {
    it(`prints ${name} as it was agreed on, without blanks at the ends of lines`, () => {
      const file = join(FOLDER, name);
      const text = render();
      if (update) {
        mkdirSync(FOLDER, { recursive: true });
        writeFileSync(file, text);
      }
      assert.ok(existsSync(file), `${file} is missing: run with UPDATE_GOLDEN=1`);
      assert.equal(text, readFileSync(file, 'utf8'));
      assert.doesNotMatch(text, / $/m);
    });
  }
});

describe('map list', () => {
  it('shows how many entries the kernel holds, with or without a copy', () => {
    const maps = [
      { path: '/m/ciliate_ct4_v1', entries: 12 },
      { path: '/m/ciliate_policy_v2_7', entries: 2, cache: [{ key: 'a' }] },
      { path: '/m/other' },
    ];
    const lines = mapList(maps).split('\n');
    assert.match(lines[1] ?? '', /^ciliate_ct4_v1 +12 +0 +false$/);
    assert.match(lines[2] ?? '', /^ciliate_policy_v2_7 +2 +0 +true$/);
    assert.match(lines[3] ?? '', /^other +unknown +0 +false$/);
  });
});
