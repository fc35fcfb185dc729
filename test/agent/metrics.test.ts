import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { MetricSet } from '../../src/agent/metric-set.ts';
import { addProxyMetrics, type ProxyMetricsDeps } from '../../src/agent/proxy-metrics.ts';
import { noProxy } from '../../src/agent/proxy-part.ts';
import type { AccessLogRecord } from '../../src/model/l7.ts';
import { NO_PROXY_COUNTERS, newDnsCounters, type ProxyCounters } from '../../src/model/proxy-counters.ts';
import type { FqdnLookup } from '../../src/policy/fqdn-lookups.ts';
import { Counters } from '../../src/proxy/counters.ts';

const NOW = 1_000_000;
const promtool = [...(process.env.PATH ?? '').split(delimiter), 'build/tools/usr/bin']
  .map((folder) => join(folder, 'promtool'))
  .find((file) => existsSync(file));

function record(more: Partial<AccessLogRecord>): AccessLogRecord {
  const end = { address: '', port: 0, identity: 0, endpoint: 0 };
  return {
    ...{
      kind: 'l7',
      time: '',
      type: 'request',
      verdict: 'forwarded',
      direction: 'ingress',
      rules: [],
      reason: '',
    },
    ...{ source: end, destination: end, latencyNs: 0 },
    l7: { kind: 'http', method: 'GET', path: '/', host: 'h', protocol: 'HTTP/1.1', status: 0 },
    ...more,
  };
}

/** What the agent is told by a proxy that wrote these records. */
function counted(records: readonly AccessLogRecord[], dns = newDnsCounters()): ProxyCounters {
  let told = NO_PROXY_COUNTERS;
  const counters = new Counters(
    (message) => {
      if (message.type === 'counters') told = structuredClone(message.counters);
      return true;
    },
    () => dns,
  );
  for (const one of records) counters.observe(one);
  counters.tell();
  return told;
}

function lookup(name: string, address: string, expiresMs: number): FqdnLookup {
  return { endpoint: 7, name, address, retired: false, lookupMs: 0, ttlSeconds: 1, expiresMs };
}

async function shown(counters: ProxyCounters, lookups: readonly FqdnLookup[] = []): Promise<string> {
  const registry = new Registry();
  const deps = {
    proxyCounters: () => counters,
    proxy: noProxy,
    manager: { list: () => [] },
    fqdn: { lookups: () => lookups, dropped: 3 },
    now: () => new Date(NOW),
  };
  addProxyMetrics(new MetricSet(registry), deps as unknown as ProxyMetricsDeps);
  return registry.metrics();
}

const shownAs = (text: string, line: string): number | undefined => {
  const found = text.split('\n').find((one) => one.startsWith(`${line} `));
  return found === undefined ? undefined : Number(found.slice(line.length + 1));
};

describe('the metrics of the proxy', () => {
  it('count requests by protocol and outcome, also where the log lost their records', async () => {
    const text = await shown(
      counted([record({}), record({}), record({ verdict: 'denied' }), record({ verdict: 'error' })]),
    );
    const value = (rule: string): number | undefined =>
      shownAs(text, `cilium_policy_l7_total{rule="${rule}",proxy_type="http"}`);
    assert.deepEqual(['received', 'forwarded', 'denied', 'parse_errors'].map(value), [4, 2, 1, 1]);
    assert.equal(shownAs(text, 'cilium_policy_l7_total{rule="received",proxy_type="kafka"}'), 0);
  });

  it('show the times of answers as a histogram whose buckets add up', async () => {
    const answer = (latencyNs: number, more: Partial<AccessLogRecord> = {}): AccessLogRecord =>
      record({ type: 'response', latencyNs, ...more });
    const text = await shown(
      counted([answer(90_000), answer(2_000_000), answer(20e9), answer(1e9, { verdict: 'error' })]),
    );
    const name = 'cilium_proxy_upstream_reply_seconds';
    const labels = 'protocol_l7="http",scope="upstreamTime",error="allow"';
    const bucket = (le: string): number | undefined => shownAs(text, `${name}_bucket{le="${le}",${labels}}`);
    assert.deepEqual(['0.0001', '0.001', '0.0025', '10', '+Inf'].map(bucket), [1, 1, 2, 2, 3]);
    assert.equal(shownAs(text, `${name}_count{${labels}}`), 3);
    assert.ok(Math.abs((shownAs(text, `${name}_sum{${labels}}`) ?? 0) - 20.00209) < 1e-9);
    assert.equal(shownAs(text, `${name}_count{protocol_l7="http",scope="upstreamTime",error="proxyErr"}`), 1);
  });

  it('tell queries, answers and failures of DNS apart', async () => {
    const dns = { ...newDnsCounters(), forwarded: 5, denied: 2, limitedQueries: 4, answers: 3, timeouts: 1 };
    const text = await shown(counted([], { ...dns, unapplied: 6, wrongQuestions: 7 }));
    assert.equal(shownAs(text, 'ciliate_dns_queries_total{outcome="forwarded"}'), 5);
    assert.equal(shownAs(text, 'ciliate_dns_queries_total{outcome="denied"}'), 2);
    assert.equal(shownAs(text, 'cilium_fqdn_semaphore_rejected_total'), 4);
    assert.equal(shownAs(text, 'ciliate_dns_answers_total{outcome="passed"}'), 3);
    assert.equal(shownAs(text, 'ciliate_dns_answers_total{outcome="wrong_question"}'), 7);
    assert.equal(shownAs(text, 'ciliate_dns_upstream_errors_total{error="timeout"}'), 1);
    assert.equal(shownAs(text, 'cilium_proxy_datapath_update_timeout_total'), 6);
  });

  it('count what is within its time to live apart from what only connections keep', async () => {
    const text = await shown(NO_PROXY_COUNTERS, [
      lookup('a.b', '192.0.2.1', NOW + 1),
      lookup('c.b', '192.0.2.1', NOW + 1),
      lookup('a.b', '192.0.2.2', NOW - 1),
    ]);
    assert.equal(shownAs(text, 'cilium_fqdn_active_names{endpoint="7"}'), 2);
    assert.equal(shownAs(text, 'cilium_fqdn_active_ips{endpoint="7"}'), 1);
    assert.equal(shownAs(text, 'cilium_fqdn_alive_zombie_connections{endpoint="7"}'), 1);
    assert.equal(shownAs(text, 'ciliate_fqdn_cache_entries'), 3);
    assert.equal(shownAs(text, 'cilium_fqdn_gc_deletions_total'), 3);
  });

  it('are accepted by promtool', {
    skip: promtool === undefined ? 'promtool is not installed (scripts/setup e2e)' : false,
  }, async () => {
    const input = await shown(counted([record({}), record({ type: 'response', latencyNs: 1e6 })]), [
      lookup('a.b', '192.0.2.1', NOW + 1),
    ]);
    const { status, stdout, stderr } = spawnSync(promtool ?? '', ['check', 'metrics'], {
      input,
      encoding: 'utf8',
    });
    assert.deepEqual([status, stdout + stderr], [0, '']);
  });
});
