import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { layoutTabs, trimLines } from '../../src/view/tabwriter.ts';

describe('layoutTabs', () => {
  it('sizes a column by its widest cell plus three blanks', () => {
    assert.equal(layoutTabs('a\tb\nlong\tc\n', { minWidth: 2 }), 'a      b\nlong   c\n');
  });

  it('starts a column afresh after a line that lacks it', () => {
    assert.equal(layoutTabs('wide-cell\t1\nplain\na\t2\n', { minWidth: 2 }), 'wide-cell   1\nplain\na   2\n');
  });

  it('ends an inner column where a line has fewer cells', () => {
    assert.equal(
      layoutTabs('a\tbbbbbb\tc\na\tx\na\tb\tc\n', { minWidth: 0 }),
      'a   bbbbbb   c\na   x\na   b   c\n',
    );
  });

  it('pads a last cell that a tab ends, and leaves one that none ends', () => {
    assert.equal(layoutTabs('a\tb\t\n', { minWidth: 0 }), 'a   b   \n');
    assert.equal(layoutTabs('a\tb\n', { minWidth: 0 }), 'a   b\n');
  });

  it('counts code points, not bytes or UTF-16 units', () => {
    assert.equal(layoutTabs('1µs\tx\n10us\ty\n😀\tz\n', { minWidth: 0 }), '1µs    x\n10us   y\n😀      z\n');
  });

  it('keeps the least width, padding included', () => {
    assert.equal(layoutTabs('\tx\n', { minWidth: 5 }), '     x\n');
    assert.equal(layoutTabs('\tx\n', { minWidth: 2 }), '   x\n');
  });

  it('leaves text without tabs alone', () => {
    assert.equal(layoutTabs('', { minWidth: 5 }), '');
    assert.equal(layoutTabs('one\ntwo', { minWidth: 5 }), 'one\ntwo');
  });
});

describe('trimLines', () => {
  it('takes blanks off the ends of lines only', () => {
    assert.equal(trimLines('a  b  \n  c\t\n\n'), 'a  b\n  c\n\n');
  });
});
