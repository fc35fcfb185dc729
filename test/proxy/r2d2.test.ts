import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { L7Filter, PairRule } from '../../src/model/l7.ts';
import { httpFilter, ingressPolicy, type RawClient, Rig, until } from './rig.ts';

const filter = (rules: readonly PairRule[] | undefined, ruleName = 'default/droid'): L7Filter =>
  httpFilter(undefined, { l7: rules && { kind: 'r2d2', rules }, ruleName });

/** A droid: keeps files, answers as the protocol says. */
async function droid(...filters: readonly L7Filter[]): Promise<Rig> {
  const rig = new Rig({ kind: 'r2d2' });
  const seen = new Map<object, number>();
  rig.server.answer = (socket, text) => {
    const lines = text.split('\r\n').slice(0, -1);
    for (const line of lines.slice(seen.get(socket) ?? 0))
      socket.write(line.startsWith('READ') ? `OK data of ${line.slice(5)}\r\n` : 'OK\r\n');
    seen.set(socket, lines.length);
  };
  return rig.start(ingressPolicy(filters));
}

async function ask(client: RawClient, text: string, wanted: string): Promise<void> {
  const from = client.text.length;
  client.send(text);
  await until(`${JSON.stringify(wanted)}, got ${JSON.stringify(client.text.slice(from))}`, () =>
    client.text.slice(from).startsWith(wanted),
  );
  assert.equal(client.text.slice(from), wanted);
}

describe('the r2d2 proxy', () => {
  it('passes what a rule allows and answers ERROR to the rest, in its turn among pipelined requests', async () => {
    await using rig = await droid(filter([{ cmd: 'READ', file: '^/public/.*' }, { cmd: 'RESET' }]));
    const client = await rig.client();
    await ask(client, 'READ /public/a\r\n', 'OK data of /public/a\r\n');
    await ask(
      client,
      'READ /secret\r\nHALT\r\nREAD /public/b\r\nWRITE /public/b\r\nRESET\r\n',
      'ERROR\r\nERROR\r\nOK data of /public/b\r\nERROR\r\nOK\r\n',
    );
    assert.equal(rig.server.text, 'READ /public/a\r\nREAD /public/b\r\nRESET\r\n');
    const told = rig.records.map(({ verdict, l7, rules }) => [
      verdict,
      l7.kind === 'r2d2' ? `${l7.fields.cmd} ${l7.fields.file}` : '',
      rules.join(),
    ]);
    assert.deepEqual(told.slice(0, 3), [
      ['forwarded', 'READ /public/a', 'default/droid'],
      ['denied', 'READ /secret', ''],
      ['denied', 'HALT ', ''],
    ]);
  });

  it('finds a regular expression anywhere in the name, as Cilium does', async () => {
    await using rig = await droid(filter([{ file: 'pub' }]));
    const client = await rig.client();
    await ask(client, 'WRITE /x/public\r\nHALT\r\n', 'OK\r\nERROR\r\n');
  });

  it('lets every request pass where one of the rules has no requests to judge', async () => {
    await using rig = await droid(filter([{ cmd: 'HALT' }]), filter(undefined, 'default/open'));
    const client = await rig.client();
    await ask(client, 'READ /x\r\n', 'OK data of /x\r\n');
    assert.deepEqual(rig.records[0]?.rules, ['default/open']);
  });

  for (const rule of [{ cmd: 'REED' }, { file: '(' }, { command: 'READ' }, { cmd: 'HALT', file: 'x' }])
    it(`allows nothing by a rule that means nothing: ${JSON.stringify(rule)}`, async () => {
      await using rig = await droid(filter([rule]));
      const client = await rig.client();
      await ask(client, 'READ x\r\nHALT\r\n', 'ERROR\r\nERROR\r\n');
      assert.equal(rig.server.text, '');
    });

  for (const text of [
    'READ a b\r\n',
    'READ\r\n',
    'READ  a\r\n',
    'HALT now\r\n',
    'read a\r\n',
    'READ a\nHALT\r\n',
    'READ a\rb\r\n',
    'READ a\0\r\n',
    '\r\n',
    `READ ${'a'.repeat(9000)}`,
  ])
    it(`refuses ${JSON.stringify(text.slice(0, 20))} and ends, though a rule allows everything`, async () => {
      await using rig = await droid(filter([{}]));
      const client = await rig.client();
      client.send(text);
      await client.end();
      assert.equal(client.text, 'ERROR\r\n');
      assert.equal(rig.server.text, '');
      assert.equal(rig.records.at(-1)?.verdict, 'error');
    });

  it('finds no expression in a name that is longer than such names are', async () => {
    await using rig = await droid(filter([{ cmd: 'READ', file: 'a' }]));
    const client = await rig.client();
    client.send(`READ ${'a'.repeat(513)}\r\nREAD ${'a'.repeat(512)}\r\n`);
    await until('answers', () => client.text === `ERROR\r\nOK data of ${'a'.repeat(512)}\r\n`);
  });

  it('reads requests and answers byte by byte', async () => {
    await using rig = await droid(filter([{ cmd: 'READ' }]));
    const client = await rig.client();
    for (const byte of 'READ a\r\nHALT\r\n') client.send(byte);
    await until('answers', () => client.text === 'OK data of a\r\nERROR\r\n');
  });

  it('ends the connection when the server answers what nobody asked', async () => {
    await using rig = await droid(filter([{ cmd: 'READ' }]));
    rig.server.answer = (socket) => socket.write('OK\r\nOK\r\n');
    const client = await rig.client();
    client.send('READ a\r\n');
    await client.end();
    assert.equal(client.text, 'OK\r\n');
  });
});
