import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FaultKind, FaultPlace } from '../../src/model/health.ts';
import { verdictText } from '../../src/view/health-diagnosis.ts';

const FAULTS: readonly FaultKind[] = [
  'node-down',
  'agent-hung',
  'stack-hung',
  'loss',
  'slow',
  'mtu-black-hole',
  'policy-drop',
  'route-missing',
  'nic-drop',
  'drop',
  'icmp-filtered',
  'http-filtered',
  'echo-filtered',
  'canary-open',
];
const PLACES: readonly FaultPlace[] = [
  { kind: 'node', node: 'n1', direction: 'both' },
  { kind: 'node', node: 'n1', direction: 'send' },
  { kind: 'pair', from: 'n1', to: 'n2' },
  { kind: 'zone', zone: 'z1' },
  { kind: 'zone-pair', from: 'z1', to: 'z2' },
  { kind: 'zone-pair', from: 'z1', to: 'z1' },
  { kind: 'path-class', pathClass: 'host-endpoint' },
  { kind: 'observer', node: 'n1' },
];
const NAMES: Readonly<Record<FaultPlace['kind'], readonly string[]>> = {
  node: ['n1'],
  pair: ['n1', 'n2'],
  zone: ['z1'],
  'zone-pair': ['z1'],
  'path-class': [],
  observer: ['n1'],
};

const plain = { kinds: [], families: [], lossPoint: undefined };

describe('the text of a verdict', () => {
  it('is one sentence that names the place, and a next step, for every fault at every place', () => {
    for (const fault of FAULTS) {
      for (const place of PLACES) {
        const { what, next } = verdictText({ ...plain, fault, place });
        assert.match(what, /^[A-Z][^.]*\.$/, `${fault} ${place.kind}`);
        for (const name of NAMES[place.kind])
          assert.ok(what.includes(name), `${fault} ${place.kind}: ${what}`);
        assert.ok(next.length > 0, `${fault} ${place.kind}`);
      }
    }
  });

  it('tells families, kinds and where packets were seen last', () => {
    const { what, details } = verdictText({
      fault: 'policy-drop',
      place: { kind: 'pair', from: 'n1', to: 'n2' },
      kinds: ['policy-allowed/http'],
      families: [6],
      lossPoint: { node: 'n2', hook: 'to_pod', leg: 'request', reason: 'Policy denied' },
    });
    assert.equal(what, 'A policy drops packets on the way from n1 to n2.');
    assert.deepEqual(details, [
      'only over IPv6',
      'paths: policy-allowed/http',
      'requests were seen last on n2 at to_pod: Policy denied',
    ]);
  });

  it('says of a filter of requests whether ICMP is answered', () => {
    const verdict = {
      ...plain,
      fault: 'http-filtered',
      place: { kind: 'node', node: 'n1', direction: 'both' },
    } as const;
    assert.match(verdictText(verdict).what, /^TCP port 4240 is not answered on node n1, ICMP is/);
    const both = { ...verdict, kinds: ['host-host/icmp', 'host-host/http'] };
    assert.match(verdictText(both).what, /^Neither TCP port 4240 nor ICMP is answered on node n1, though/);
  });

  it('sends the reader to the way between two nodes', () => {
    const { next } = verdictText({ ...plain, fault: 'loss', place: { kind: 'pair', from: 'n1', to: 'n2' } });
    assert.ok(next.some((step) => step.startsWith('ciliate health path n1 n2')));
    assert.ok(next.some((step) => step.startsWith('ciliate monitor --type drop on n1')));
  });

  it('sends the reader to the node that does not answer, not to the one that asks it', () => {
    for (const fault of ['agent-hung', 'stack-hung', 'canary-open'] as const) {
      const { next } = verdictText({ ...plain, fault, place: { kind: 'pair', from: 'n1', to: 'n2' } });
      assert.match(next[0] ?? '', / on n2[,:]/, fault);
    }
  });

  it('sends the reader to the node that saw the packets last', () => {
    const lossPoint = { node: 'n2', hook: 'to_pod', leg: 'request', reason: undefined } as const;
    for (const fault of ['policy-drop', 'drop', 'nic-drop', 'loss'] as const) {
      const place = { kind: 'pair', from: 'n1', to: 'n2' } as const;
      assert.match(verdictText({ ...plain, fault, place, lossPoint }).next[0] ?? '', / on n2:/, fault);
    }
  });

  it('names the rules of the node where its own policy drops, and what looks like something hung from outside', () => {
    const place = { kind: 'node', node: 'n2', direction: 'receive' } as const;
    const at = (hook: string) => ({ node: 'n2', hook, leg: 'request', reason: 'Policy denied' }) as const;
    const nextAt = (hook: string) =>
      verdictText({ ...plain, fault: 'policy-drop', place, lossPoint: at(hook) }).next.join('\n');
    for (const hook of ['to_host', 'from_host'])
      assert.match(nextAt(hook), /^ciliate policy get on n2: its rules with a nodeSelector/m);
    assert.doesNotMatch(nextAt('to_pod'), /nodeSelector/);
    for (const fault of ['stack-hung', 'agent-hung'] as const) {
      const hung = verdictText({ ...plain, fault, place }).next.join('\n');
      assert.match(hung, /^ciliate monitor --type drop there.*TCP 4240/m);
    }
  });

  it('quotes names in what is to be looked at next: a shell runs nothing that is in them', () => {
    const odd = "n1; touch 'x' $(id)";
    const quoted = "'n1; touch '\\''x'\\'' $(id)'";
    const lossPoint = { node: odd, hook: 'stamp', leg: 'request', reason: undefined } as const;
    for (const fault of FAULTS)
      for (const place of [
        { kind: 'node', node: odd, direction: 'both' },
        { kind: 'pair', from: odd, to: odd },
        { kind: 'observer', node: odd },
      ] as const)
        for (const text of verdictText({ ...plain, fault, place, lossPoint }).next)
          assert.ok(!text.replaceAll(quoted, '').includes('touch'), `${fault} ${place.kind}: ${text}`);
    const { next } = verdictText({
      ...plain,
      fault: 'drop',
      place: { kind: 'pair', from: odd, to: 'n2/a.b:1' },
    });
    assert.ok(
      next.some((text) => text.startsWith(`ciliate health path ${quoted} n2/a.b:1: `)),
      next.join('\n'),
    );
  });
});
