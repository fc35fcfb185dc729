import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderJsonPath } from '../../src/view/jsonpath.ts';

const value = {
  revision: 71,
  big: 18446744073709551615n,
  name: 'a "b"',
  'io.key': { x: true },
  none: null,
  items: [
    { id: 1, name: 'one', ready: true, status: { state: 'ready' } },
    { id: 2, name: 'two', status: { state: 'waiting' } },
    { id: 3, name: 'three', status: { state: 'ready' } },
  ],
};

/** Template -> text. */
const CASES: Readonly<Record<string, string>> = {
  '{.revision}': '71',
  '{$.revision}': '71',
  '.revision': '71',
  '{.big}': '18446744073709551615',
  '{.name}': 'a "b"',
  '{.absent}': '',
  '{.none}': '',
  "{['io.key'].x}": 'true',
  '{.io\\.key.x}': 'true',
  '{.items[0].name}': 'one',
  '{.items[-1].name}': 'three',
  '{.items[9].name}': '',
  '{.items[0:2].id}': '1 2',
  '{.items[1:].id}': '2 3',
  '{.items[*].name}': 'one two three',
  '{.items[?(@.id==2)].name}': 'two',
  '{.items[?(@.id!=2)].name}': 'one three',
  '{.items[?(@.id>=2)].name}': 'two three',
  '{.items[?(@.status.state=="ready")].id}': '1 3',
  '{.items[?(@.ready)].id}': '1',
  "{.items[0]['id','name']}": '1 one',
  '{..state}': 'ready waiting ready',
  '{.items[0].status}': '{"state":"ready"}',
  'rev {.revision}!': 'rev 71!',
  '{range .items[*]}{.id}={.name}{"\\n"}{end}': '1=one\n2=two\n3=three\n',
  '{range .items[*]}[{.id}{"}"}]{end}': '[1}][2}][3}]',
};

describe('renderJsonPath', () => {
  for (const [template, text] of Object.entries(CASES)) {
    it(`renders ${template}`, () => assert.equal(renderJsonPath(template, value), text));
  }

  for (const template of ['{.items[}', '{.a', '{range .items[*]}{.id}', '{end}', '{.items[?(]}', '{.a b}']) {
    it(`refuses ${template}`, () => {
      assert.throws(() => renderJsonPath(template, value), { code: 'JSONPATH' });
    });
  }
});
