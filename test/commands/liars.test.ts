import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { answerJson, cli, FakeNode } from './cli.ts';

/** A server on both sockets that answers everything with the same words. */
const liar = new FakeNode();
let body = '';
before(async () => {
  for (const name of ['ciliate.sock', 'health.sock']) {
    await liar.serve(name, (_seen, response) => answerJson(response, 200, body));
  }
  writeFileSync(join(liar.stateDir, 'rule.yaml'), 'endpointSelector: {}\ningress: [{}]\n');
});
after(() => liar.close());

/** Commands that read an object, among them all that write. */
const OBJECTS: readonly (readonly string[])[] = [
  ['policy', 'import', join(liar.stateDir, 'rule.yaml')],
  ['policy', 'delete', '--all'],
  ['config', 'Debug=on'],
  ['endpoint', 'config', '7', 'Debug=on'],
  ['endpoint', 'labels', '7', '-a', 'x=y'],
  ['health', 'status', '--probe'],
  ['health', 'get'],
  ['endpoint', 'health', '7'],
];
const LISTS: readonly (readonly string[])[] = [
  ['endpoint', 'list'],
  ['policy', 'wait', '1'],
  ['identity', 'list'],
];
/** Each member that commands look into has a wrong type. */
const INSIDE = {
  revision: {},
  policy: 7,
  status: { realized: { user: 7, options: 7 }, daemonConfigurationMap: 7, addressing: 7 },
  realized: 7,
  nodes: 7,
  cilium: 7,
  uptime: 7,
  overallHealth: [],
  'system-load': 7,
};

async function requireNoFaultOfOurs(words: readonly string[], codes: readonly number[]): Promise<void> {
  const { stderr, code } = await cli([...words, '--state-dir', liar.stateDir]);
  assert.doesNotMatch(stderr, /^ {4}at /m, words.join(' '));
  assert.ok(codes.includes(code ?? -1), `${words.join(' ')} exited with ${code}: ${stderr}`);
}

describe('a server that lies', () => {
  for (const lie of ['null', '[]', '7', '"text"', '']) {
    it(`${JSON.stringify(lie)} for an object: exit 4`, async () => {
      body = lie;
      await Promise.all(OBJECTS.map((words) => requireNoFaultOfOurs(words, [4])));
    });
  }

  for (const lie of ['{}', '[7]', '[null]', '"text"']) {
    it(`${lie} for a list of objects: exit 4`, async () => {
      body = lie;
      await Promise.all(LISTS.map((words) => requireNoFaultOfOurs(words, [4])));
    });
  }

  it('wrong types further in: never a stack, never exit 70', async () => {
    body = JSON.stringify(INSIDE);
    await Promise.all(OBJECTS.map((words) => requireNoFaultOfOurs(words, [0, 1, 4])));
  });
});
