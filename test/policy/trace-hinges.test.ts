import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { labelSet, parseLabels } from '../../src/model/labels.ts';
import { EMPTY_INVENTORY } from '../../src/model/policy-inventory.ts';
import { parsePolicy, type TraceHinge, type TraceParty, traceHinges } from '../../src/policy/index.ts';

const party = (...labels: readonly string[]): TraceParty => ({
  title: labels.join(),
  labels: labelSet(parseLabels(labels, 'k8s')),
});

function hinges(
  rule: object,
  ends: { readonly source?: TraceParty; readonly destination?: TraceParty },
): readonly TraceHinge[] {
  const { source = party('app=client'), destination = party('app=web') } = ends;
  const { rules, errors } = parsePolicy(JSON.stringify([rule]), { file: 'test', namespace: 'default' });
  assert.deepEqual(errors, []);
  return traceHinges(
    rules.map((one) => ({ rule: one.rule, place: 'r' })),
    { source, destination, l4: { kind: 'port', protocol: 6, port: 80 } },
    { mode: 'default', allowLocalhost: 'always', clusterName: 'default', inventory: EMPTY_INVENTORY },
  );
}
const shown = (list: readonly TraceHinge[]): readonly string[] =>
  list.map(({ end, labels, verdict }) => `${end} ${labels.join()} ${verdict}`);

const WEB = { matchLabels: { app: 'web' } };
const from = (selector: object) => ({
  endpointSelector: WEB,
  ingress: [{ fromEndpoints: [selector] }],
  labels: ['k8s:r=1'],
});

describe('labels that a verdict hangs on', () => {
  it('are those that a subject still lacks, all of them at once', () => {
    const rule = {
      ...from({}),
      endpointSelector: { matchLabels: { app: 'web', a: '1', b: '2' } },
      ingress: [{}],
    };
    assert.deepEqual(shown(hinges(rule, {})), ['destination k8s:a=1,k8s:b=2 denied']);
  });

  it('are those that a peer still lacks, by value, list and key', () => {
    assert.deepEqual(shown(hinges(from({ matchLabels: { team: 'a' } }), {})), ['source k8s:team=a allowed']);
    const listed = from({ matchExpressions: [{ key: 'team', operator: 'In', values: ['b', 'c'] }] });
    assert.deepEqual(shown(hinges(listed, {})), ['source k8s:team=b allowed']);
    const any = from({ matchExpressions: [{ key: 'team', operator: 'Exists' }] });
    assert.deepEqual(shown(hinges(any, {})), ['source k8s:team allowed']);
  });

  it('are those that a peer must not have', () => {
    const without = from({ matchExpressions: [{ key: 'bad', operator: 'DoesNotExist' }] });
    assert.deepEqual(shown(hinges(without, {})), ['source k8s:bad denied']);
    const not = from({ matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['x'] }] });
    assert.deepEqual(shown(hinges(not, {})), ['source k8s:team=x denied']);
  });

  it('are none where a label that is there speaks against it, where it changes nothing, or where identities are known', () => {
    const rule = from({ matchLabels: { team: 'a' } });
    assert.deepEqual(hinges(rule, { source: party('team=b') }), []);
    assert.deepEqual(hinges(rule, { source: party('team=a') }), []);
    assert.deepEqual(hinges(rule, { source: { ...party('app=client'), identity: 1000 } }), []);
    assert.deepEqual(hinges(rule, { destination: party('app=other') }), []);
    assert.deepEqual(hinges(from({ matchLabels: { 'reserved:host': '' } }), {}), []);
  });

  it('are tried 32 times at an end', () => {
    const selectors = Array.from({ length: 100 }, (_, i) => ({ matchLabels: { team: `t${i}` } }));
    const rule = { endpointSelector: WEB, ingress: [{ fromEndpoints: selectors }], labels: ['k8s:r=1'] };
    assert.equal(hinges(rule, {}).length, 32);
  });
});
