import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { parseCidr } from '../../src/base/ip.ts';
import type { L7Filter } from '../../src/model/l7.ts';
import { httpFilter } from '../proxy/rig.ts';
import { REMOTE_IDENTITY, REMOTE4, redirect } from '../support/datapath-lab.ts';
import { L7Lab } from '../support/l7-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';

/** A key that both ends know: no certificates are needed. */
const PSK = { psk: Buffer.alloc(32, 1), identity: 'test' };
const CIPHERS = { ciphers: 'PSK', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
const PORT = 8443;

const named = (...rules: readonly string[]): L7Filter =>
  httpFilter(undefined, { l7: { kind: 'tls', rules } });

describe('TLS through the proxy, between namespaces', { skip: bpfOrSkip(), timeout: 120_000 }, () => {
  const lab = new L7Lab('S', ['tls-ingress', 'tls-egress']);
  const server = createServer({ ...CIPHERS, pskCallback: () => PSK.psk });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => socket.write(`${String(socket.servername)} ${bytes}`));
    socket.on('end', () => socket.end());
  });

  /** @returns the connection once it is secured; undefined when it was ended before */
  const open = async (
    netns: string,
    address: string,
    servername?: string,
  ): Promise<TLSSocket | undefined> => {
    const socket = await lab.sockets.connect(lab.path(netns), address, PORT);
    assert.ok(socket, 'the proxy accepts');
    const tls = connect({
      ...{ ...CIPHERS, socket, pskCallback: () => PSK, checkServerIdentity: () => undefined },
      ...(servername !== undefined && { servername }),
    });
    tls.on('error', () => undefined);
    const ended = once(socket, 'close').then(() => undefined);
    const secured = once(tls, 'secureConnect').then(
      () => tls,
      () => undefined,
    );
    return Promise.race([secured, ended]);
  };
  const say = async (tls: TLSSocket | undefined, text: string): Promise<string> => {
    assert.ok(tls, 'secured');
    const answer = once(tls, 'data');
    tls.write(text);
    return String((await answer)[0]);
  };
  const serve = (netns: string, address: string): Promise<unknown> =>
    lab.sockets.listen(lab.path(netns), address, PORT, (socket: Socket) => server.emit('connection', socket));
  const reasons = (): string[] =>
    lab.records.map(({ reason, l7 }) => `${l7.kind === 'tls' ? l7.serverName : '?'}: ${reason}`);

  before(() => lab.start());
  after(() => lab.cleanUp());
  beforeEach(() => lab.reset());

  it('passes by the name that the client asks for, to another machine, and nothing else does', async () => {
    const { a, datapaths } = lab;
    await lab.setL7([
      { subject: 1000, ingress: undefined, egress: [named('www.example.org', '*.example.com')] },
    ]);
    await lab.setPolicy(a, [redirect('egress', REMOTE_IDENTITY, 6, PORT, lab.portOf('tls-egress'))]);
    await serve(datapaths.remote, REMOTE4);
    for (const name of ['www.example.org', 'a.example.com']) {
      const tls = await open(a.namespace, REMOTE4, name);
      assert.equal(await say(tls, 'hello'), `${name} hello`);
      const large = 'x'.repeat(200_000);
      tls?.write(large);
      await eventually('a long answer', () => (tls?.bytesRead ?? 0) > large.length || undefined);
      tls?.destroy();
    }
    for (const name of ['example.org', 'a.b.example.com', undefined])
      assert.equal(await open(a.namespace, REMOTE4, name), undefined, `${name}`);
    const plain = await lab.sockets.connect(lab.path(a.namespace), REMOTE4, PORT);
    plain?.write('GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n');
    assert.ok(plain);
    await eventually('its end', () => plain.destroyed || undefined);
    await eventually('the records', () => lab.records.length === 6 || undefined);
    assert.deepEqual(reasons(), [
      'www.example.org: ',
      'a.example.com: ',
      'example.org: no rule allows it',
      'a.b.example.com: no rule allows it',
      ': no server name',
      ': no TLS',
    ]);
  });

  it('passes only if the policies of both ends allow the name', async () => {
    const { a, b } = lab;
    await lab.setL7([
      { subject: 1000, ingress: undefined, egress: [named('a.org', 'b.org')] },
      { subject: 2000, egress: undefined, ingress: [named('b.org', 'c.org')] },
    ]);
    await lab.setPolicy(a, [redirect('egress', 2000, 6, PORT, lab.portOf('tls-egress'))]);
    await lab.setPolicy(b, [redirect('ingress', 1000, 6, PORT, lab.portOf('tls-ingress'))]);
    await serve(b.namespace, b.ipv4);
    assert.equal(await say(await open(a.namespace, b.ipv4, 'b.org'), 'x'), 'b.org x');
    for (const name of ['a.org', 'c.org']) assert.equal(await open(a.namespace, b.ipv4, name), undefined);
    await lab.setPolicy(b, []);
  });

  it('ends when the policy, or the peer’s identity, allows it no more', async () => {
    const { a, datapaths } = lab;
    const policy = (...filters: readonly L7Filter[]) =>
      lab.setL7([{ subject: 1000, ingress: undefined, egress: filters }]);
    const relabel = (identity: number) =>
      datapaths.datapath.upsertIpcache([
        { prefix: parseCidr(`${REMOTE4}/32`), identity, tunnelEndpoint: undefined },
      ]);
    const only = { ...named('www.example.org'), peers: [REMOTE_IDENTITY] };
    await policy(only);
    await lab.setPolicy(
      a,
      [REMOTE_IDENTITY, 3000].map((peer) => redirect('egress', peer, 6, PORT, lab.portOf('tls-egress'))),
    );
    await serve(datapaths.remote, REMOTE4);
    for (const change of [() => policy(named('other.example.org')), () => relabel(3000)]) {
      const tls = await open(a.namespace, REMOTE4, 'www.example.org');
      assert.equal(await say(tls, '1'), 'www.example.org 1');
      await change();
      tls?.write('2');
      await eventually('its end', () => tls?.destroyed || undefined);
      await policy(only);
      await relabel(REMOTE_IDENTITY);
    }
    const verdicts = (): string[] =>
      lab.records.flatMap(({ verdict, l7, destination }) =>
        l7.kind === 'tls' && l7.serverName === 'www.example.org'
          ? [`${verdict} ${destination.identity}`]
          : [],
      );
    await eventually('the records', () => verdicts().length === 4 || undefined);
    const [before, after] = [`forwarded ${REMOTE_IDENTITY}`, `denied ${REMOTE_IDENTITY}`];
    assert.deepEqual(verdicts(), [before, after, before, 'denied 3000']);
  });
});
