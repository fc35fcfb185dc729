import assert from 'node:assert/strict';
import { once } from 'node:events';
import { it } from 'node:test';
import { DropReason } from '../../../src/model/constants.gen.ts';
import { echo } from '../../support/live-traffic.ts';
import { eventually } from '../../support/process.ts';
import { FROM_CLIENT, forClient, fromClient, PORT_80, TO_SERVER, toServers } from './rules.ts';
import type { Stage } from './stage.ts';

/** Longer than the first two times that TCP sends again: an answer that is to come would have come. */
const CUT_MS = 900;
const FRIENDS = toServers(`[{${FROM_CLIENT}}]`);

/** What a rule does to flows: those that it lets in, those that it cuts, and what comes back. */
export function defineFlows({ live, traffic }: Stage): void {
  it('corner case 8: a flow needs the egress of the one and the ingress of the other', async () => {
    const out = (port: number): string =>
      fromClient(`[{${TO_SERVER}, toPorts: [{ports: [{port: "${port}", protocol: TCP}]}]}]`);
    await live.policy(out(80) + toServers(`[{${FROM_CLIENT}, ${PORT_80}}]`));
    for (const server of ['server', 'server2']) {
      assert.equal(await traffic.tcp('client', server, 80), 'open', 'both allow it');
      assert.equal(await traffic.tcp('client', server, 443), '133', 'neither does');
      assert.equal(await traffic.tcp('plain', server, 80), '133', 'only its egress does');
    }
    await live.change(out(443));
    for (const server of ['server', 'server2']) {
      assert.equal(await traffic.tcp('client', server, 80), '133', 'only the ingress does');
      assert.equal(await traffic.tcp('client', server, 443), '133', 'only the egress does');
    }
  });

  it('corner case 9: answers pass in the denied direction, a new flow in it does not', async () => {
    await live.policy(forClient('[{}]', '[{toEntities: [all]}]'));
    for (const server of ['server', 'server2']) {
      assert.equal(await traffic.tcp('client', server, 80), 'open');
      assert.equal(await traffic.udp('client', server, 80), 'open');
      assert.equal(await traffic.tcp(server, 'client', 80), '133');
      assert.equal(await traffic.udp(server, 'client', 80), '133');
    }
    const socket = await traffic.connect('client', 'server', 80, { sourcePort: 4000 });
    assert.ok(await echo(socket));
    assert.equal(await traffic.tcp('server', 'client', 4000), '133', 'to the port of a flow that is open');
    assert.ok(await echo(socket), 'which goes on');
  });

  it("corner case 10: an established flow is cut when its rule goes, is denied, or the peer's labels change", async () => {
    const changes = {
      'its rule is taken away': () => live.change(toServers('[{}]')),
      'a denial comes': () => live.change(toServers(`[{${FROM_CLIENT}}]`, `\ningressDeny: [{${PORT_80}}]`)),
      "the peer's labels change": () =>
        live.relabel('client', ['k8s:app=other', 'k8s:io.kubernetes.pod.namespace=default']),
    };
    const { labels } = live.lab.workload('client');
    await live.policy(FRIENDS);
    for (const [what, change] of Object.entries(changes)) {
      const sockets = [
        await traffic.connect('client', 'server', 80),
        await traffic.connect('client', 'server2', 80),
      ];
      for (const socket of sockets) assert.ok(await echo(socket), `before ${what}`);
      await change();
      const passed = await Promise.all(sockets.map((socket) => echo(socket, CUT_MS)));
      assert.deepEqual(passed, [false, false], what);
      traffic.reset();
      if (what.includes('labels')) await live.relabel('client', labels);
      await live.change(FRIENDS);
    }
    assert.equal(await traffic.tcp('client', 'server2', 80), 'open', 'with its labels and the rule again');
  });

  it('corner case 11: so is one that is idle, and one of UDP, also for what the other side sends', async () => {
    await live.policy(FRIENDS);
    const [idle, inside] = await traffic.pair('client', 'server', 80);
    const datagrams = await traffic.udpSocket('client', { sourcePort: 4020 });
    let heard = 0;
    datagrams.on('message', () => heard++);
    datagrams.send('x', 80, live.address('server'));
    await eventually('the datagram comes back', () => heard === 1 || undefined);
    await live.change(toServers('[{}]'));
    const before = live.drops(DropReason.policy);
    const silent = Promise.all([
      once(idle, 'data', { signal: AbortSignal.timeout(CUT_MS) }).then(
        () => 'heard',
        () => 'silent',
      ),
      once(inside, 'data', { signal: AbortSignal.timeout(CUT_MS) }).then(
        () => 'heard',
        () => 'silent',
      ),
    ]);
    inside.write('from the server');
    idle.write('from the client');
    datagrams.send('x', 80, live.address('server'));
    traffic.server('server', 80).send('x', 4020, live.address('client'));
    assert.deepEqual(await silent, ['silent', 'silent']);
    assert.ok(live.drops(DropReason.policy) >= before + 4, 'each was dropped');
    assert.equal(heard, 1);
  });

  it('corner case 13: a rule for TCP ports blocks ping, a rule for peers alone lets it in', async () => {
    await live.policy(toServers(`[{${FROM_CLIENT}, ${PORT_80}}]`));
    for (const family of [4, 6] as const)
      for (const server of ['server', 'server2'])
        assert.equal(await traffic.ping('client', server, { family }), '133');
    assert.equal(await traffic.tcp('client', 'server', 80), 'open');
    await live.change(FRIENDS);
    for (const family of [4, 6] as const)
      for (const server of ['server', 'server2'])
        assert.equal(await traffic.ping('client', server, { family }), 'open');
  });

  it('corner case 29: what a pod sends to its own address never leaves it, and no policy stops it', async () => {
    await live.policy(forClient('[{}]', '[{}]'));
    assert.equal(await traffic.tcp('plain', 'client', 80), '133', 'the pod is closed');
    assert.equal(await traffic.tcp('client', 'plain', 80), '133', 'both ways');
    for (const family of [4, 6] as const)
      assert.equal(await traffic.tcp('client', 'client', 80, { family }), 'open');
  });

  it('corner case 35: while policies change under load nothing opens and nothing closes in between', async () => {
    const ports = ['{port: "80"}', '{port: "80"}, {port: "443"}', '{port: "1", endPort: 100}'];
    const text = (i: number): string => {
      const items = `[{${FROM_CLIENT}, toPorts: [{ports: [${ports[i % ports.length]}]}]}]`;
      return toServers(items, i % 2 === 0 ? '' : '\negress: [{toEntities: [all]}]');
    };
    await live.policy(text(0));
    const allowed = await traffic.stream('client', 'server2', 80);
    const denied = await traffic.stream('client', 'server2', 8080);
    const outsider = await traffic.stream('plain', 'server2', 80);
    const streams = [allowed, denied, outsider];
    for (let i = 1; i <= 20 || streams.some(({ sent }) => sent() <= 100); i++) await live.change(text(i));
    const [sent, came] = await allowed.end();
    assert.ok(sent > 100, `${sent} datagrams of the allowed flow were sent`);
    assert.equal(came, sent, 'each of them was answered');
    for (const stream of [denied, outsider]) {
      const [tried, passed] = await stream.end();
      assert.ok(tried > 100, `${tried} datagrams of a denied flow were sent`);
      assert.equal(passed, 0, 'none of them was');
    }
  });
}
