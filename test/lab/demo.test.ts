import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { allReachable, sumSamples } from '../../src/lab/demo/observe.ts';
import { DemoReport } from '../../src/lab/demo/report.ts';
import { modelIdentity, modelVerdicts } from '../../src/lab/demo/verdicts.ts';
import { placeOf, rule1File } from '../../src/lab/star-wars.ts';
import { podLabels } from '../../src/lab/workload.ts';

describe("the demo's report", () => {
  it('counts checks, and keeps those that did not hold', () => {
    let text = '';
    const report = new DemoReport((part) => {
      text += part;
    });
    report.step('Landing');
    report.check(true, 'lands');
    report.check(false, 'is dropped');
    assert.deepEqual([report.checks, report.failures], [2, ['is dropped']]);
    assert.match(text, /==> 1\. Landing/);
    assert.match(text, /FAILED.*is dropped/);
  });
});

describe('samples of /metrics', () => {
  const text = [
    '# TYPE cilium_drop_count_total counter',
    'cilium_drop_count_total{direction="INGRESS",reason="Policy denied"} 4',
    'cilium_drop_count_total{direction="EGRESS",reason="Policy denied"} 3',
    'cilium_drop_count_total{direction="INGRESS",reason="Unroutable"} 100',
    'cilium_drop_count_total_other{reason="Policy denied"} 1000',
  ].join('\n');

  it('are summed by family and labels', () => {
    assert.equal(sumSamples(text, 'cilium_drop_count_total', ['reason="Policy denied"']), 7);
    assert.equal(sumSamples(text, 'cilium_drop_count_total'), 107);
    assert.equal(sumSamples(text, 'cilium_absent'), 0);
  });
});

describe('the place of a workload', () => {
  it('is the wanted node, or the last of a lab that has fewer', () => {
    const nodes = [{ name: 'node1' }, { name: 'node2' }];
    assert.equal(placeOf('node1', nodes), 'node1');
    assert.equal(placeOf('node2', nodes), 'node2');
    assert.equal(placeOf('node2', nodes.slice(0, 1)), 'node1');
  });
});

describe('the health of a lab', () => {
  const fine = { latency: 12_000, status: '' };
  const path = { ip: '10.0.0.1', icmp: fine, http: fine };
  const node = (name: string) => ({
    name,
    host: { 'primary-address': path },
    'health-endpoint': { 'primary-address': path },
  });

  it('is whole when every path of every node answered', () => {
    assert.equal(allReachable({ nodes: [node('a'), node('b')] }, 2, true), true);
  });

  it('is not when a node is missing, was never probed, or failed', () => {
    assert.equal(allReachable({ nodes: [node('a')] }, 2, true), false);
    assert.equal(allReachable({ nodes: [node('a'), { name: 'b' }] }, 2, true), false);
    const unknown = { name: 'b', host: { 'primary-address': { ip: '10.0.0.2', http: fine } } };
    assert.equal(allReachable({ nodes: [node('a'), unknown] }, 2, true), false);
    assert.equal(allReachable({ nodes: [node('a'), unknown] }, 2, false), true);
    const failed = { name: 'b', host: { 'primary-address': { ...path, icmp: { status: 'timeout' } } } };
    assert.equal(allReachable({ nodes: [node('a'), failed] }, 2, true), false);
  });
});

describe('the verdicts of the model on rule1', () => {
  const ship = (name: string, id: number, org: string) => ({
    name,
    identity: modelIdentity({ id, labels: [...podLabels([`k8s:org=${org}`, `k8s:class=${name}`])] }),
  });
  const deathstar = ship('deathstar', 300, 'empire');
  const ask = (from: ReturnType<typeof ship>, port: number): boolean | undefined => {
    const text = readFileSync(rule1File(), 'utf8');
    const [verdict] = modelVerdicts(text, 'rule1', [{ from, to: deathstar, port }]);
    assert.equal(verdict?.agreed, true);
    return verdict?.allowed;
  };

  it('let the empire in by port 80 only, and nobody else', () => {
    assert.equal(ask(ship('tiefighter', 301, 'empire'), 80), true);
    assert.equal(ask(ship('tiefighter', 301, 'empire'), 81), false);
    assert.equal(ask(ship('xwing', 302, 'alliance'), 80), false);
  });
});
