import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { ObservationPoint } from '../../src/model/constants.gen.ts';
import {
  type DatapathLab,
  NODE4,
  NODE6,
  type Pod,
  REMOTE_IDENTITY,
  REMOTE4,
  REMOTE6,
  redirect,
} from '../support/datapath-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';
import { EGRESS, PROXY_PORT, RedirectLab, say } from '../support/redirect-lab.ts';

describe('flows that policy sends through the proxy', { skip: bpfOrSkip(), timeout: 120_000 }, () => {
  const rig = new RedirectLab('R');
  const lab: DatapathLab = rig.datapaths;
  let a: Pod;
  let b: Pod;

  rig.serveSuite();
  before(() => {
    ({ a, b } = rig);
  });

  for (const [family, client, server] of [
    [4, () => a.ipv4, () => b.ipv4],
    [6, () => a.ipv6, () => b.ipv6],
  ] as const)
    for (const where of ['ingress', 'egress', 'both ends'] as const)
      it(`takes IPv${family} between pods through it once, by policy of ${where}, with both addresses kept`, async () => {
        const port = 8000 + family;
        if (where !== 'egress')
          await rig.setPolicy(b, [redirect('ingress', a.endpoint.identity, 6, port, PROXY_PORT)]);
        if (where !== 'ingress')
          await rig.setPolicy(a, [redirect('egress', b.endpoint.identity, 6, port, PROXY_PORT)], EGRESS);
        await rig.serve(b.namespace, server(), port);
        const socket = await rig.connect(a.namespace, server(), port);
        const own = `${client()}/${socket?.localPort}`;
        assert.equal(await say(socket, 'x'), `${own} x`);
        assert.equal(socket?.remoteAddress, server());
        const flow = `tcp ${own} ${server()}/${port}`;
        assert.equal(rig.seenByProxy(new RegExp(`^${flow}$`)), 1);
        await eventually('traces of both legs', () => {
          const points = lab.events.flatMap((event) =>
            event.kind === 'trace' ? [event.observationPoint] : [],
          );
          return (
            (points.includes(ObservationPoint.toProxy) && points.includes(ObservationPoint.fromProxy)) ||
            undefined
          );
        });
        const verdicts = lab.events.flatMap((event) =>
          event.kind === 'policy-verdict' ? [event.verdict] : [],
        );
        assert.deepEqual(verdicts, where === 'both ends' ? [PROXY_PORT, PROXY_PORT] : [PROXY_PORT]);
      });

  for (const [family, client, server] of [
    [4, () => a.ipv4, REMOTE4],
    [6, () => a.ipv6, REMOTE6],
  ] as const) {
    it(`takes IPv${family} to another machine through it`, async () => {
      await rig.setPolicy(a, [redirect('egress', REMOTE_IDENTITY, 6, 8010, PROXY_PORT)], EGRESS);
      await rig.serve(lab.remote, server, 8010);
      const socket = await rig.connect(a.namespace, server, 8010);
      assert.equal(await say(socket, 'x'), `${client()}/${socket?.localPort} x`);
      assert.equal(socket?.remoteAddress, server);
    });

    it(`takes IPv${family} from another machine through it`, async () => {
      const to = family === 4 ? a.ipv4 : a.ipv6;
      await rig.setPolicy(a, [redirect('ingress', REMOTE_IDENTITY, 6, 8011, PROXY_PORT)]);
      await rig.serve(a.namespace, to, 8011);
      const socket = await rig.connect(lab.remote, to, 8011);
      assert.equal(await say(socket, 'x'), `${server}/${socket?.localPort} x`);
      assert.equal(rig.seenByProxy(new RegExp(`^tcp ${server}/${socket?.localPort} `)), 1);
    });

    it(`takes IPv${family} from the node itself through it`, async () => {
      const to = family === 4 ? a.ipv4 : a.ipv6;
      const node = family === 4 ? NODE4 : NODE6;
      await rig.setPolicy(a, [redirect('ingress', 1, 6, 8012, PROXY_PORT)]);
      await rig.serve(a.namespace, to, 8012);
      const socket = await rig.connect(lab.node, to, 8012);
      assert.match((await say(socket, 'x')) ?? '', new RegExp(`^${node}/\\d+ x$`));
      assert.equal(rig.seenByProxy(new RegExp(`^tcp ${node}/${socket?.localPort} ${to}/8012`)), 1);
    });

    it(`takes IPv${family} to the node itself through it`, async () => {
      const node = family === 4 ? NODE4 : NODE6;
      await rig.setPolicy(a, [redirect('egress', 1, 6, 8013, PROXY_PORT)], EGRESS);
      await rig.serve(lab.node, node, 8013);
      const socket = await rig.connect(a.namespace, node, 8013);
      assert.match((await say(socket, 'x')) ?? '', new RegExp(`^${node}/\\d+ x$`));
      assert.equal(rig.seenByProxy(new RegExp(`^tcp ${client()}/${socket?.localPort} `)), 1);
    });
  }
});
