import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import { parseCidr } from '../../src/base/ip.ts';
import { httpFilter, httpRule } from '../proxy/rig.ts';
import { REMOTE_IDENTITY, REMOTE4, redirect } from '../support/datapath-lab.ts';
import { L7Lab } from '../support/l7-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

/** Sends a request on an open connection and waits for its answer. @returns its status */
async function ask(socket: Socket | undefined, path: string): Promise<number> {
  assert.ok(socket, 'connected');
  const answer = once(socket, 'data');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`);
  const [bytes] = await answer;
  return Number(/^HTTP\/1\.1 (\d+)/.exec(String(bytes))?.[1]);
}

const paths = (peer: number, path: string) =>
  httpFilter([httpRule({ path })], { peers: [peer], ruleName: `${peer}` });

describe('a kept-alive connection of a peer whose labels change', {
  skip: bpfOrSkip(),
  timeout: 120_000,
}, () => {
  const lab = new L7Lab('I', ['http-ingress', 'http-egress']);
  const proxyPort = () => lab.portOf('http-ingress');
  const serve = (namespace: string, address: string, port: number) =>
    lab.sockets.listen(lab.path(namespace), address, port, (socket) =>
      socket.on('data', () => socket.write(OK)),
    );

  before(() => lab.start());
  after(() => lab.cleanUp());
  beforeEach(() => lab.reset());

  it('is judged by the new identity from the next request on, for a peer outside', async () => {
    const { a, datapaths } = lab;
    const prefix = parseCidr(`${REMOTE4}/32`);
    const relabel = (identity: number) =>
      datapaths.datapath.upsertIpcache([{ prefix, identity, tunnelEndpoint: undefined }]);
    const ingress = [paths(REMOTE_IDENTITY, '/a'), paths(3000, '/b')];
    await lab.setL7([{ subject: 1000, ingress, egress: undefined }]);
    await lab.setPolicy(
      a,
      [REMOTE_IDENTITY, 3000].map((peer) => redirect('ingress', peer, 6, 8080, proxyPort())),
    );
    await serve(a.namespace, a.ipv4, 8080);
    const client = await lab.sockets.connect(lab.path(datapaths.remote), a.ipv4, 8080);
    for (let round = 0; round < 20; round++) {
      assert.deepEqual([await ask(client, '/a'), await ask(client, '/b')], [200, 403], `round ${round}`);
      await relabel(3000);
      assert.deepEqual([await ask(client, '/a'), await ask(client, '/b')], [403, 200], `round ${round}`);
      await relabel(REMOTE_IDENTITY);
    }
  });

  it('is judged by the new identity before the proxy is told of it, for both ends on this node', async () => {
    const { a, b } = lab;
    const subjects = [
      { subject: 1000, ingress: undefined, egress: [paths(2000, '/a|/shared')] },
      { subject: 1001, ingress: undefined, egress: [paths(2000, '/b|/shared'), paths(2001, '/b')] },
      { subject: 2000, egress: undefined, ingress: [paths(1000, '/a|/shared'), paths(1001, '/b')] },
      { subject: 2001, egress: undefined, ingress: [paths(1001, '/b')] },
    ];
    await lab.setL7(subjects);
    const out = [2000, 2001].map((peer) => redirect('egress', peer, 6, 8081, lab.portOf('http-egress')));
    const into = [1000, 1001].map((peer) => redirect('ingress', peer, 6, 8081, proxyPort()));
    await lab.setPolicy(a, out, 1000);
    await lab.setPolicy(b, into, 2000);
    await serve(b.namespace, b.ipv4, 8081);
    const client = await lab.sockets.connect(lab.path(a.namespace), b.ipv4, 8081);
    const answers = async (): Promise<number[]> => {
      const all: number[] = [];
      for (const path of ['/a', '/b', '/shared']) all.push(await ask(client, path));
      return all;
    };
    assert.deepEqual(await answers(), [200, 403, 200]);
    await lab.setPolicy(a, out, 1001);
    assert.deepEqual(await answers(), [403, 200, 403]);
    await lab.setPolicy(b, into, 2001);
    assert.deepEqual(await answers(), [403, 200, 403]);
    await lab.setPolicy(a, out, 1000);
    assert.deepEqual(await answers(), [403, 403, 403]);
    await lab.setPolicy(b, into, 2000);
    assert.deepEqual(await answers(), [200, 403, 200]);
  });
});
