import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Direction } from '../../src/model/map-state.ts';
import { EVERYBODY, LanguageLab, type Place, SERVED } from '../support/language-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];
const SIDE = { ingress: 'from', egress: 'to' } as const;
const INSIDE = EVERYBODY.filter((place) => !place.startsWith('world'));

/** Whom each entity means, of those who are there. */
const ENTITIES: Readonly<Record<string, readonly Place[]>> = {
  all: EVERYBODY,
  world: ['world4', 'world6'],
  'world-ipv4': ['world4'],
  'world-ipv6': ['world6'],
  cluster: INSIDE,
  host: ['host4', 'host6'],
  'remote-node': ['remote-node4', 'remote-node6'],
  health: ['health4', 'health6'],
  none: [],
};

/** One rule for the subject, with these items of a direction. */
const rule = (direction: Direction, items: string, more = ''): string =>
  `- endpointSelector: {matchLabels: {app: a}}\n  ${direction}: ${items}\n${more}`;

describe('rules of the language under live traffic', { skip: bpfOrSkip(), timeout: 120_000 }, () => {
  const live = new LanguageLab();
  before(() => live.start());
  after(() => live.cleanUp());

  it('everybody talks with the subject both ways while no rule selects it', async () => {
    await live.policy('[]');
    for (const direction of DIRECTIONS) assert.deepEqual(await live.who(direction, EVERYBODY), EVERYBODY);
  });

  for (const direction of DIRECTIONS) {
    for (const [entity, wanted] of Object.entries(ENTITIES)) {
      it(`the entity ${entity} is ${wanted.join(', ') || 'nobody'}, ${direction}`, async () => {
        await live.policy(rule(direction, `[{${SIDE[direction]}Entities: [${entity}]}]`));
        assert.deepEqual(await live.who(direction, wanted), wanted);
      });
    }

    it(`a range of ports has its ends and nothing beside them, ${direction}`, async () => {
      const ports = '[{toPorts: [{ports: [{port: "8000", endPort: 8003, protocol: TCP}]}]}]';
      await live.policy(rule(direction, ports));
      const within = [8000, 8001, 8003];
      for (const place of ['pod4', 'pod6', 'world4'] as const) {
        const passed = await Promise.all(
          SERVED.map((port) => live.tcp(direction, place, port, within.includes(port))),
        );
        assert.deepEqual(
          SERVED.filter((_, i) => passed[i]),
          within,
          place,
        );
      }
      assert.equal(await live.udp(direction, 'pod4', 8000, false), false, 'it is of TCP');
    });

    it(`a denied range leaves the rest of the allowed one, and one of UDP is not of TCP, ${direction}`, async () => {
      const deny = `  ${direction}Deny: [{toPorts: [{ports: [{port: "8001", endPort: 8003, protocol: UDP}]}]}]\n`;
      await live.policy(
        rule(direction, '[{toPorts: [{ports: [{port: "7999", endPort: 8004, protocol: UDP}]}]}]', deny),
      );
      const within = [7999, 8000, 8004];
      const passed = await Promise.all(
        SERVED.map((port) => live.udp(direction, 'pod4', port, within.includes(port))),
      );
      assert.deepEqual(
        SERVED.filter((_, i) => passed[i]),
        within,
      );
      assert.equal(await live.tcp(direction, 'pod4', 8000, false), false, 'it is of UDP');
    });

    it(`a CIDR holds but for its exceptions, ${direction}`, async () => {
      const sets = [
        '{cidr: 198.51.100.0/24, except: [198.51.100.128/25]}',
        '{cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}',
      ];
      await live.policy(rule(direction, `[{${SIDE[direction]}CIDRSet: [${sets.join(', ')}]}]`));
      const wanted = ['world4', 'world6'] as const;
      assert.deepEqual(await live.who(direction, wanted, [...EVERYBODY, 'far4', 'far6']), wanted);
    });

    it(`what one CIDR excepts another one may bring back, ${direction}`, async () => {
      const sets = '[{cidr: 198.51.100.0/24, except: [198.51.100.128/25]}, {cidr: 198.51.100.192/26}]';
      await live.policy(rule(direction, `[{${SIDE[direction]}CIDRSet: ${sets}}]`));
      assert.deepEqual(await live.who(direction, ['world4', 'far4'], ['world4', 'far4', 'far6']), [
        'world4',
        'far4',
      ]);
    });

    it(`types of ICMP and ICMPv6 pass one by one, and nothing else does, ${direction}`, async () => {
      const verdicts = async (): Promise<readonly boolean[]> => [
        await live.icmp(direction, 4, 8),
        await live.icmp(direction, 4, 13),
        await live.icmp(direction, 6, 128),
        await live.icmp(direction, 6, 144),
      ];
      await live.policy(
        rule(direction, '[{icmps: [{fields: [{type: 8}, {family: IPv6, type: EchoRequest}]}]}]'),
      );
      assert.deepEqual(await verdicts(), [true, false, true, false]);
      assert.equal(await live.tcp(direction, 'pod4', 8080, false), false);
      await live.policy(rule(direction, '[{icmps: [{fields: [{type: 13}, {family: IPv6, type: 144}]}]}]'));
      assert.deepEqual(await verdicts(), [false, true, false, true]);
      const deny = `  ${direction}Deny: [{icmps: [{fields: [{type: 13}, {family: IPv6, type: 128}]}]}]\n`;
      await live.policy(rule(direction, `[{${SIDE[direction]}Entities: [all]}]`, deny));
      assert.deepEqual(await verdicts(), [true, false, false, true]);
    });
  }
});
