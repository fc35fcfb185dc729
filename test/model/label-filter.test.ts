import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LabelFilter } from '../../src/model/label-filter.ts';
import { formatLabels, parseLabel, parseLabels } from '../../src/model/labels.ts';

const counts = (filter: string, label: string): boolean =>
  LabelFilter.parse(filter).counts(parseLabel(label));

describe('labels that make identities', () => {
  const cases: readonly [label: string, counts: boolean][] = [
    ['k8s:app=web', true],
    ['k8s:io.kubernetes.pod.namespace=default', true],
    ['k8s:io.cilium.k8s.policy.serviceaccount=default', true],
    ['k8s:io.cilium.k8s.policy.cluster=default', true],
    ['k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=x', true],
    ['k8s:app.kubernetes.io/name=x', true],
    ['k8s:eks.amazonaws.com/component=coredns', true],
    ['k8s:batch.kubernetes.io/job-name=x', true],
    ['k8s:job-name=x', true],
    ['reserved:init', true],
    ['k8s:pod-template-hash=5d8c', false],
    ['k8s:controller-revision-hash=5d8c', false],
    ['k8s:controller-uid=5d8c', false],
    ['k8s:statefulset.kubernetes.io/pod-name=db-0', false],
    ['k8s:apps.kubernetes.io/pod-index=0', false],
    ['k8s:io.kubernetes.container.name=x', false],
    ['k8s:kubernetes.io/arch=amd64', false],
    ['k8s:failure-domain.beta.kubernetes.io/zone=a', false],
    ['k8s:batch.kubernetes.io/job-completion-index=3', false],
    ['k8s:batch.kubernetes.io/controller-uid=3', false],
    ['container:annotation.io.kubernetes.x=1', false],
  ];
  for (const [text, kept] of cases) {
    it(`by default ${kept ? 'hold' : 'leave out'} ${text}`, () => assert.equal(counts('', text), kept));
  }

  it('are split from those that only inform', () => {
    const split = LabelFilter.parse('').split(parseLabels(['k8s:pod-template-hash=1', 'k8s:app=web']));
    assert.deepEqual(formatLabels(split.identity), ['k8s:app=web']);
    assert.deepEqual(formatLabels(split.informational), ['k8s:pod-template-hash=1']);
  });

  it('are all but those that a pattern with ! begins', () => {
    const filter = 'k8s:!version !build';
    assert.deepEqual(
      [
        'k8s:version=1',
        'k8s:version-team=a',
        'k8s:reversion=1',
        'container:version=1',
        'container:build=1',
      ].map((label) => counts(filter, label)),
      [false, false, true, true, false],
    );
    assert.equal(counts(filter, 'k8s:app=web'), true);
  });

  it('are only those that a pattern without ! begins, once there is one, and those that are always taken in', () => {
    const filter = 'k8s:team,app';
    const labels = ['k8s:team=a', 'k8s:team-b=a', 'container:app=x', 'k8s:app.kubernetes.io/name=x'];
    assert.deepEqual(
      labels.map((label) => counts(filter, label)),
      [true, true, true, true],
    );
    assert.equal(counts(filter, 'k8s:io.kubernetes.pod.namespace=default'), true);
    assert.equal(counts(filter, 'reserved:health'), true);
    const others = ['k8s:env=prod', 'container:team=a', 'k8s:io.cilium.k8s.policy.serviceaccount=default'];
    assert.deepEqual(
      others.map((label) => counts(filter, label)),
      [false, false, false],
    );
  });

  it('are told by the longer match where one pattern takes in and another leaves out', () => {
    assert.equal(counts('!foo foo[.]bar', 'k8s:foo.bar=1'), true);
    assert.equal(counts('!foo foo[.]bar', 'k8s:foo.baz=1'), false);
    assert.equal(counts('foo !foo[.]bar', 'k8s:foo.bar=1'), false);
    assert.equal(counts('!app', 'k8s:app=web'), false);
  });

  it('are told by regular expressions that begin where the key does', () => {
    assert.equal(counts('!example[.]com', 'k8s:www.example.com/x=1'), true);
    assert.equal(counts('!.*example[.]com', 'k8s:www.example.com/x=1'), false);
    assert.equal(counts('!(hash|uid)$', 'k8s:uid=1'), false);
    assert.equal(counts('!(hash|uid)$', 'k8s:uid2=1'), true);
  });

  it('cannot be without those of source reserved', () => {
    assert.equal(counts('reserved:!.* !.*', 'reserved:init'), true);
  });

  for (const [text, message] of [
    ['k8s:', /names no key/],
    ['!', /names no key/],
    ['k8:app', /"k8" is no source/],
    ['!k8s:app', /"!k8s" is no source/],
    ['a(', /no pattern of labels/],
    ['(?=x)', /no pattern of labels/],
  ] as const) {
    it(`are not told by ${text}, and it says why`, () =>
      assert.throws(() => LabelFilter.parse(text), { code: 'LABEL_PATTERN', message }));
  }

  it('keep the text of their patterns', () => {
    assert.equal(LabelFilter.parse(' k8s:app,  !hash ').text, 'k8s:app !hash');
    assert.equal(LabelFilter.parse('').text, '');
  });
});
