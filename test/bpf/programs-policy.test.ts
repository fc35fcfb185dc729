import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import type { MapStateEntry, MapStateKey } from '../../src/model/map-state.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { type L4, tcp, udp } from '../support/packets.ts';
import { A, assertDropped, B, describePrograms, item, PEER, syn } from '../support/program-cases.ts';
import { ELSEWHERE } from '../support/program-rig.ts';

describePrograms('policy', (cases) => {
  const { family, address, send, receive, deliver } = cases;

  describe('policy', () => {
    it('drops what no entry allows, in both directions, and counts it', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: true });
      const before = cases.rig.counted('egress', DropReason.policy);
      assertDropped(send(address.b, tcp(1, 80, syn)), DropReason.policy);
      assert.equal(cases.rig.counted('egress', DropReason.policy), before + 1);
      assertDropped(receive(address.peer, tcp(1, 80, syn)), DropReason.policy);
    });

    it('asks the ingress of a local receiver too, and names it', async () => {
      await cases.rig.setPolicy(B.id, stateOf([item('ingress', A.identity, { protocol: 6, port: 80 })]), {
        ingress: true,
        egress: false,
      });
      assert.equal(send(address.b, tcp(1, 80, syn)).verdict, 'redirect');
      const result = send(address.b, tcp(1, 81, syn));
      assertDropped(result, DropReason.policy);
      const drop = result.events.find(({ kind }) => kind === 'drop');
      assert.ok(drop?.kind === 'drop');
      assert.deepEqual(
        [drop.source, drop.direction, drop.srcIdentity, drop.dstIdentity, drop.dstEndpoint],
        [B.id, 'ingress', A.identity, B.identity, B.id],
      );
      const brackets = family === 4 ? (text: string) => text : (text: string) => `[${text}]`;
      assert.equal(drop.summary, `${brackets(address.a)}:1 -> ${brackets(address.b)}:81 tcp SYN`);
      const verdict = result.events.find(({ kind }) => kind === 'policy-verdict');
      assert.ok(verdict?.kind === 'policy-verdict');
      assert.deepEqual(
        [verdict.source, verdict.direction, verdict.remoteIdentity, verdict.verdict, verdict.destinationPort],
        [B.id, 'ingress', A.identity, -DropReason.policy, 81],
      );
    });

    const table: readonly {
      readonly name: string;
      readonly entries: readonly { key: MapStateKey; entry: MapStateEntry }[];
      readonly payload: L4;
      readonly expected: number;
      readonly match?: number;
    }[] = [
      {
        name: 'all of a peer',
        entries: [item('ingress', PEER)],
        payload: tcp(1, 80, syn),
        expected: 0,
        match: 1,
      },
      {
        name: 'a port of a peer',
        entries: [item('ingress', PEER, { protocol: 6, port: 80 })],
        payload: tcp(1, 80, syn),
        expected: 0,
        match: 2,
      },
      {
        name: 'a port of everybody',
        entries: [item('ingress', 0, { protocol: 17, port: 53 })],
        payload: udp(1, 53),
        expected: 0,
        match: 3,
      },
      { name: 'everything', entries: [item('ingress', 0)], payload: udp(1, 53), expected: 0, match: 4 },
      {
        name: 'a protocol of a peer',
        entries: [item('ingress', PEER, { protocol: 17 })],
        payload: udp(1, 9),
        expected: 0,
        match: 5,
      },
      {
        name: 'a protocol of everybody',
        entries: [item('ingress', 0, { protocol: 17 })],
        payload: udp(1, 9),
        expected: 0,
        match: 6,
      },
      {
        name: 'another protocol than the entry',
        entries: [item('ingress', PEER, { protocol: 6, port: 53 })],
        payload: udp(1, 53),
        expected: DropReason.policy,
      },
      {
        name: 'a port inside a range',
        entries: [item('ingress', PEER, { protocol: 6, port: 8192, bits: 3 })],
        payload: tcp(1, 16383, syn),
        expected: 0,
        match: 2,
      },
      {
        name: 'a port outside the range',
        entries: [item('ingress', PEER, { protocol: 6, port: 8192, bits: 3 })],
        payload: tcp(1, 16384, syn),
        expected: DropReason.policy,
      },
      {
        name: 'a deny of greater precedence for everybody',
        entries: [
          item('ingress', PEER, { protocol: 6, port: 80, precedence: 1 }),
          item('ingress', 0, { verdict: { kind: 'deny' }, precedence: 255 }),
        ],
        payload: tcp(1, 80, syn),
        expected: DropReason.policyDeny,
        match: 4,
      },
      {
        name: 'equal precedence, longer match for everybody',
        entries: [
          item('ingress', PEER, { verdict: { kind: 'deny' }, precedence: 5 }),
          item('ingress', 0, { protocol: 6, port: 80, precedence: 5 }),
        ],
        payload: tcp(1, 80, syn),
        expected: 0,
        match: 3,
      },
      {
        name: 'equal precedence and match: the peer',
        entries: [
          item('ingress', PEER, { protocol: 6, port: 80, precedence: 5 }),
          item('ingress', 0, { protocol: 6, port: 80, verdict: { kind: 'deny' }, precedence: 5 }),
        ],
        payload: tcp(1, 80, syn),
        expected: 0,
        match: 2,
      },
      {
        name: 'a redirect without a proxy',
        entries: [item('ingress', PEER, { verdict: { kind: 'redirect', proxyPort: 9000 }, precedence: 2 })],
        payload: tcp(1, 80, syn),
        expected: DropReason.proxyLookupFailed,
      },
      {
        name: 'the other direction',
        entries: [item('egress', PEER)],
        payload: tcp(1, 80, syn),
        expected: DropReason.policy,
      },
    ];
    for (const { name, entries, payload, expected, match } of table) {
      it(`decides: ${name}`, async () => {
        await cases.rig.setPolicy(A.id, stateOf(entries), { ingress: true, egress: false });
        const result = receive(address.peer, payload);
        if (expected !== 0) return assertDropped(result, expected);
        assert.equal(result.verdict, 'redirect');
        const verdict = result.events.find(({ kind }) => kind === 'policy-verdict');
        assert.ok(verdict?.kind === 'policy-verdict');
        assert.deepEqual([verdict.match, verdict.ruleId], [match, 9]);
      });
    }

    it('knows an unannounced address of the ranges as identity 0, never as the world', async () => {
      await cases.rig.setPolicy(A.id, stateOf([item('egress', 2)]), { ingress: false, egress: true });
      assert.equal(send(address.world, udp(1, 2)).verdict, 'pass');
      const result = send(address.nobody, udp(1, 2));
      assertDropped(result, DropReason.policy);
      assert.equal(result.events[0]?.kind === 'policy-verdict' && result.events[0].remoteIdentity, 0);
    });

    it('lets nobody speak with an address whose identity is held, on running flows too, until it is not', async () => {
      const prefix = `${address.peer}/${family === 4 ? 32 : 128}`;
      assert.equal(receive(address.peer, udp(1, 2)).verdict, 'redirect');
      await cases.rig.setIdentity(prefix, PEER, true);
      try {
        assertDropped(receive(address.peer, udp(1, 2)), DropReason.invalidIdentity);
        assertDropped(receive(address.peer, udp(3, 4)), DropReason.invalidIdentity);
        assertDropped(send(address.peer, udp(5, 6)), DropReason.invalidIdentity);
        assertDropped(send(address.peer, udp(2, 1)), DropReason.invalidIdentity);
      } finally {
        await cases.rig.setIdentity(prefix, PEER);
      }
      assert.equal(receive(address.peer, udp(1, 2)).verdict, 'redirect');
      assert.equal(send(address.peer, udp(2, 1)).verdict, 'pass');
    });

    it('takes the node for the host only when the packet comes from itself', async () => {
      await cases.rig.setPolicy(A.id, stateOf([item('ingress', 1)]), { ingress: true, egress: false });
      assert.equal(deliver(address.node, udp(1, 2), 0).verdict, 'pass');
      assertDropped(deliver(address.node, udp(3, 4), ELSEWHERE), DropReason.policy);
      assertDropped(receive(address.node, udp(5, 6)), DropReason.policy);
      assertDropped(receive(address.node, udp(1, 2)), DropReason.policy);
    });
  });
});
