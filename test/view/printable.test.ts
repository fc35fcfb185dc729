import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { toJson, toJsonLine } from '../../src/view/json.ts';
import { printable, printableField } from '../../src/view/printable.ts';
import { layoutTabs, row } from '../../src/view/tabwriter.ts';

const NASTY = 'a\u001b[2J\u009b1m\u007f\r\u202eb';

describe('printable', () => {
  it('shows what a terminal would obey, and keeps lines, tabs and other scripts', () => {
    assert.equal(printable(NASTY), 'a\\x1b[2J\\x9b1m\\x7f\\x0d\\u202eb');
    assert.equal(printable('1µs\tжук\n└ 😀\n'), '1µs\tжук\n└ 😀\n');
  });

  it('shows in a field also what would end it', () => {
    assert.equal(printableField('a\tb\nc'), 'a\\tb\\nc');
  });
});

describe('what others sent', () => {
  it('cannot make up a row or a column of a table', () => {
    const table = row(['ID', 'LABELS']) + row(['7', 'k8s:a\n8\tk8s:admin']);
    assert.equal(layoutTabs(table, { minWidth: 0 }), 'ID   LABELS\n7    k8s:a\\n8\\tk8s:admin\n');
  });

  it('is the same value in JSON, and nothing that a terminal obeys', () => {
    for (const text of [toJson({ x: NASTY }), toJsonLine({ x: NASTY })]) {
      assert.deepEqual(JSON.parse(text), { x: NASTY });
      assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\u202e]/u);
    }
  });
});
