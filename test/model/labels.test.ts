import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  formatLabel,
  formatLabels,
  hasLabels,
  labelSet,
  labelSetText,
  labelsSha256,
  makeLabel,
  parseLabel,
  parseLabels,
} from '../../src/model/labels.ts';

describe('parseLabel', () => {
  const cases: readonly [text: string, source: string, key: string, value: string][] = [
    ['k8s:app=web', 'k8s', 'app', 'web'],
    ['app=web', 'unspec', 'app', 'web'],
    ['app', 'unspec', 'app', ''],
    ['reserved:host', 'reserved', 'host', ''],
    ['k8s:app=a=b', 'k8s', 'app', 'a=b'],
    ['app=k8s:b', 'unspec', 'app', 'k8s:b'],
    ['k8s:io.kubernetes.pod.namespace', 'k8s', 'io.kubernetes.pod.namespace', ''],
    [':app=web', 'unspec', 'app', 'web'],
    ['container:a:b=c', 'container', 'a:b', 'c'],
  ];
  for (const [text, source, key, value] of cases) {
    it(`reads ${text}`, () => assert.deepEqual(parseLabel(text), { source, key, value }));
  }

  it('takes the source of the caller when the text has none', () => {
    assert.equal(parseLabel('app=web', 'any').source, 'any');
  });

  const bad: readonly [text: string, code: string][] = [
    ['', 'LABEL_INVALID'],
    ['=web', 'LABEL_INVALID'],
    ['k8s:=web', 'LABEL_INVALID'],
    ['k8s:', 'LABEL_INVALID'],
    ['k8:app=web', 'LABEL_SOURCE_UNKNOWN'],
    ['a b=c', 'LABEL_INVALID'],
    ['a=b\nc', 'LABEL_INVALID'],
    [`a=${'x'.repeat(513)}`, 'LABEL_INVALID'],
    [`${'x'.repeat(513)}=a`, 'LABEL_INVALID'],
  ];
  for (const [text, code] of bad) {
    it(`refuses ${JSON.stringify(text.slice(0, 20))} with ${code}`, () => {
      assert.throws(() => parseLabel(text), { code, exitCode: 2 });
    });
  }

  it('checks labels given in parts too', () => {
    assert.throws(() => makeLabel('nope', 'a', 'b'), { code: 'LABEL_SOURCE_UNKNOWN' });
    assert.deepEqual(makeLabel('k8s', 'a', ''), { source: 'k8s', key: 'a', value: '' });
  });
});

describe('label sets', () => {
  it('are sorted by source and key, equal labels once', () => {
    const labels = parseLabels(['reserved:host', 'k8s:b=1', 'k8s:a=2', 'container:z', 'k8s:b=1']);
    assert.deepEqual(formatLabels(labels), ['container:z', 'k8s:a=2', 'k8s:b=1', 'reserved:host']);
  });

  it('refuse two values of one key, but not of one key in two sources', () => {
    assert.throws(() => parseLabels(['k8s:a=1', 'k8s:a=2']), { code: 'LABEL_DUPLICATE' });
    assert.equal(parseLabels(['k8s:a=1', 'container:a=2']).length, 2);
  });

  it('have one text and one hash whatever the order', () => {
    const a = parseLabels(['k8s:a=1', 'k8s:b=2']);
    const b = [...a].reverse();
    assert.equal(labelSetText(a), 'k8s:a=1;k8s:b=2;');
    assert.equal(labelSetText(b), labelSetText(a));
    assert.equal(labelsSha256(b), labelsSha256(a));
    assert.match(labelsSha256(a), /^[0-9a-f]{64}$/);
    assert.notEqual(labelsSha256(a), labelsSha256(parseLabels(['k8s:a=1', 'k8s:b=3'])));
  });

  it('have another text than every other set, also where values hold what separates labels', () => {
    const texts = [
      ['k8s:a=x', 'k8s:b=y'],
      ['k8s:a=x;k8s:b=y'],
      ['k8s:a=x\\', 'k8s:b=y'],
      ['k8s:a=x\\;k8s:b=y'],
      ['k8s:a;k8s:b=y'],
      ['k8s:a', 'k8s:b=y'],
    ].map((labels) => labelSetText(parseLabels(labels)));
    assert.equal(new Set(texts).size, texts.length, texts.join('\n'));
    assert.notEqual(
      labelSetText([{ source: 'k8s', key: 'a=b', value: 'c' }]),
      labelSetText([{ source: 'k8s', key: 'a', value: 'b=c' }]),
    );
  });

  it('hold nothing that a terminal obeys', () => {
    for (const text of ['k8s:a=\u001b[2J', 'k8s:a=\u009b2J', 'k8s:a=x\u202ey', 'k8s:a\u00a0b', 'k8s:a=x\ny'])
      assert.throws(() => parseLabel(text), { code: 'LABEL_INVALID' }, JSON.stringify(text));
  });

  it('contain wanted labels, whose source may be any', () => {
    const labels = parseLabels(['k8s:a=1', 'container:b=2']);
    assert.ok(hasLabels(labels, [parseLabel('a=1', 'any'), parseLabel('container:b=2')]));
    assert.ok(!hasLabels(labels, [parseLabel('k8s:b=2')]));
    assert.ok(!hasLabels(labels, [parseLabel('a=2', 'any')]));
    assert.ok(hasLabels(labels, []));
  });

  it('write a label without value without the equals sign', () => {
    assert.equal(formatLabel(parseLabel('k8s:a=')), 'k8s:a');
  });

  it('do not share their caller’s list', () => {
    const given = [parseLabel('k8s:b'), parseLabel('k8s:a')];
    labelSet(given);
    assert.equal(given[0]?.key, 'b');
  });
});
