import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { L7Filter } from '../../../src/model/l7.ts';
import { CLIENT, httpFilter, ingressPolicy, Rig, type RigOptions, SERVER, until } from '../rig.ts';
import { hello, helloFor, helloMessage, inRecords } from './hello-bytes.ts';
import { HOSTILE } from './hostile-hellos.ts';

const named = (...rules: readonly string[]): L7Filter =>
  httpFilter(undefined, { l7: { kind: 'tls', rules } });
const OPEN = httpFilter(undefined, { ruleName: 'default/open' });
const POLICY = ingressPolicy([named('a.example.org', '*.example.com')]);
const HELLO = helloFor('a.example.org');

async function start(policy = POLICY, options: RigOptions = {}): Promise<Rig> {
  const rig = await new Rig({ kind: 'tls', ...options }).start(policy);
  rig.server.answer = (socket) => socket.write('answer');
  return rig;
}

const shown = (rig: Rig) =>
  rig.records.map(({ verdict, rules, l7 }) => [
    verdict,
    rules.join(),
    l7.kind === 'tls' ? l7.serverName : '?',
  ]);

describe('a connection that is judged by its server name', () => {
  it('passes to the server byte for byte once its name is allowed, and answers come back', async () => {
    await using rig = await start();
    const client = await rig.client();
    const bytes = Buffer.concat([inRecords(helloMessage(), 3), Buffer.from('and more')]);
    for (const byte of bytes) client.send(Buffer.from([byte]));
    await until('the server has it', () => rig.server.text.length === bytes.length);
    assert.equal(rig.server.text, bytes.toString('latin1'));
    await until('the answer', () => client.text.startsWith('answer'));
    client.send('later');
    await until('what follows', () => rig.server.text.endsWith('later'));
    assert.deepEqual(shown(rig), [['forwarded', 'default/rule', 'a.example.org']]);
    client.socket.end();
    await until('its end', () => rig.server.connections[0]?.ended === true && client.closed);
  });

  it('is reset where no rule has its name, or it has none, and nothing of it reaches the server', async () => {
    await using rig = await start();
    for (const bytes of [helloFor('b.example.org'), helloFor('a.b.example.com'), hello({ extensions: [] })]) {
      const client = (await rig.client()).send(bytes);
      await until('the reset', () => client.closed);
      assert.equal(client.error, 'ECONNRESET');
    }
    assert.equal(rig.server.connections.length, 0);
    assert.deepEqual(shown(rig), [
      ['denied', '', 'b.example.org'],
      ['denied', '', 'a.b.example.com'],
      ['denied', '', ''],
    ]);
    assert.deepEqual(
      rig.records.map(({ reason }) => reason),
      ['no rule allows it', 'no rule allows it', 'no server name'],
    );
  });

  for (const [what, bytes, reason] of HOSTILE)
    it(`never reaches the server with ${what}; the next honest one does`, async () => {
      await using rig = await start(ingressPolicy([named('a.example.org', '**.org', '*.example.org')]));
      const client = (await rig.client()).send(bytes);
      if (reason === 'more') client.socket.end();
      await until('the end', () => client.closed);
      assert.equal(client.error, 'ECONNRESET');
      assert.equal(rig.server.connections.length, 0);
      assert.equal(rig.records[0]?.verdict, 'denied');
      if (reason !== 'more') assert.match(rig.records[0]?.reason ?? '', reason);
      const honest = (await rig.client()).send(HELLO);
      await until('the answer', () => honest.text === 'answer');
      honest.socket.destroy();
    });

  it('passes from its first byte on where another rule asks for no name, also when the server speaks first', async () => {
    await using rig = await start(ingressPolicy([named('a.example.org'), OPEN]));
    const client = await rig.client();
    await until('the way is open', () => rig.server.connections.length === 1);
    rig.server.connections[0]?.socket.write('220 hello');
    await until('the server is heard', () => client.text === '220 hello');
    client.send('no TLS at all');
    await until('the client is heard', () => rig.server.text === 'no TLS at all');
    assert.deepEqual(shown(rig), [['forwarded', 'default/open', '']]);
    client.socket.destroy();
  });

  it('ends with the next byte, or soon without one, when the policy allows it no more', async () => {
    await using rig = await start();
    const busy = (await rig.client()).send(HELLO);
    const idle = (await rig.client()).send(HELLO);
    await until('both are answered', () => busy.text === 'answer' && idle.text === 'answer');
    await rig.apply(ingressPolicy([named('a.example.org')], 2));
    busy.send('still');
    await until('it goes on', () => rig.server.text.includes('still'));
    await rig.apply(ingressPolicy([named('*.example.com')], 3));
    busy.send('never');
    await until('the reset', () => busy.closed && idle.closed);
    assert.deepEqual([busy.error, idle.error], ['ECONNRESET', 'ECONNRESET']);
    assert.ok(!rig.server.text.includes('never'));
    await until('the server knows', () => rig.server.connections.every(({ closed }) => closed));
    assert.deepEqual(
      rig.records.map(({ verdict }) => verdict),
      ['forwarded', 'forwarded', 'denied', 'denied'],
    );
  });

  it('is not ended while it is idle for an identity that its peer may not have any more', async () => {
    let judged = { client: CLIENT, epoch: 0 };
    let now = 0;
    const identities = () => {
      const { client, epoch } = judged;
      return { client, server: SERVER, holds: () => epoch === now };
    };
    const policy = (peer: number, names: readonly string[], revision: number) =>
      ingressPolicy([{ ...named(...names), peers: [peer] }], revision);
    await using rig = await start(policy(CLIENT, ['**.org'], 1), { identities });
    const [kept, revoked] = [await rig.client(), await rig.client()];
    kept.send(HELLO);
    revoked.send(helloFor('b.example.org'));
    await until('both pass', () => rig.server.text.length === HELLO.length * 2);
    now = 1;
    await rig.apply(policy(CLIENT + 1, ['a.example.org'], 2));
    await until('what nobody may', () => revoked.closed, 30_000);
    assert.equal(kept.closed, false);
    judged = { client: CLIENT + 1, epoch: 1 };
    kept.send('later');
    await until('what follows', () => rig.server.text.includes('later'));
    now = 2;
    judged = { client: CLIENT, epoch: 2 };
    kept.send('secret');
    await until('a packet of whom it is not allowed to', () => kept.closed);
    assert.ok(!rig.server.text.includes('secret'));
  });

  it('waits for no policy: before the first one nothing passes', async () => {
    await using rig = await new Rig({ kind: 'tls' }).start();
    const client = (await rig.client()).send(HELLO);
    await until('the reset', () => client.closed);
    assert.equal(rig.records[0]?.reason, 'no policy yet');
  });

  it('is read no faster than the server takes it', async () => {
    await using rig = await start();
    rig.server.answer = (socket) => socket.pause();
    const client = (await rig.client()).send(HELLO);
    await until('the server has the hello', () => rig.server.text.length > 0);
    const sent = 64 * 1024 * 1024;
    client.send(Buffer.alloc(sent));
    await until('it stops', () => client.socket.writableLength > 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(client.socket.writableLength > sent / 2, `${client.socket.writableLength} bytes wait`);
    client.socket.destroy();
  });

  it('is reset with a record of why when the server does not listen', async () => {
    await using rig = await new Rig({ kind: 'tls', dialPort: () => 1 }).start(POLICY);
    const client = (await rig.client()).send(HELLO);
    await until('the reset', () => client.closed);
    assert.deepEqual(
      rig.records.map(({ verdict }) => verdict),
      ['forwarded', 'error'],
    );
    assert.match(rig.records[1]?.reason ?? '', /ECONNREFUSED/);
  });
});
