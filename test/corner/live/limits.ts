import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { agentClient } from '../../../src/lab/agent-process.ts';
import { readPolicy, rulesText } from '../../../src/policy/index.ts';
import { echo } from '../../support/live-traffic.ts';
import { udp } from '../../support/packets.ts';
import { eventually } from '../../support/process.ts';
import { Frames } from './frames.ts';
import { FROM_CLIENT, forClient, toServers } from './rules.ts';
import type { Stage } from './stage.ts';

const RANGES = 40;
const PREFIXES = 60;
/** How many flows are opened between two looks at the one in use. */
const BURST = 2000;
/** Where the ports of UDP over IPv4 lie in a frame. */
const PORTS_AT = 34;

/** A policy of more entries than a policy map has room for, beside one that lets the client in. */
function tooMuch(): string {
  const prefixes = Array.from({ length: PREFIXES }, (_, i) => `203.0.113.${i}/32`);
  // Each range is of many entries: one for each power of two that it is made of.
  const ports = Array.from({ length: RANGES }, (_, i) => {
    const first = 1 + i * 1600;
    return `{port: "${first}", endPort: ${first + 1598}, protocol: TCP}`;
  });
  return toServers(
    `[{${FROM_CLIENT}}, {fromCIDR: [${prefixes.join(', ')}], toPorts: [{ports: [${ports.join(', ')}]}]}]`,
  );
}

/** What happens where maps are full. */
export function defineLimits(stage: Stage): void {
  const { live, traffic } = stage;

  it('corner case 38: a policy that does not fit its map locks the endpoint, which says so, until one does', async () => {
    const fits = toServers(`[{${FROM_CLIENT}}]`);
    await live.policy(fits);
    const established = await traffic.connect('client', 'server', 80);
    assert.ok(await echo(established));
    await agentClient(live.lab.node('node1')).putPolicy(rulesText(readPolicy(tooMuch(), { file: 'much' })));
    const health = async (): Promise<string | undefined> =>
      (await live.endpoint('server')).status?.health?.policy;
    await eventually('the failure shows', async () => ((await health()) === 'Failure' ? true : undefined));
    const log = await agentClient(live.lab.node('node1')).endpointLog(
      String(live.lab.workload('server').endpointId),
    );
    assert.ok(
      log.some(({ message }) => /locked/.test(message ?? '')),
      JSON.stringify(log.slice(0, 5)),
    );
    const realized = (await live.endpoint('server')).status?.policy?.realized;
    assert.equal(realized?.['policy-enabled'], 'both', 'it is closed both ways');
    const before = live.drops();
    assert.equal(await echo(established, 900), false);
    assert.ok(live.drops() > before, 'what an established flow sends is dropped');
    const { connected, socket } = traffic.open('client', 'server', 443);
    assert.equal(
      await Promise.race([connected, new Promise((resolve) => setTimeout(resolve, 900, 'silent'))]),
      'silent',
    );
    socket.destroy();
    assert.equal(await traffic.tcp('client', 'server2', 80), 'open', 'another endpoint is not touched');
    await live.change(fits);
    assert.equal(await traffic.tcp('client', 'server', 80), 'open');
    assert.equal(await health(), 'OK');
  });

  describe('a flood', () => {
    const frames = new Frames(stage);
    before(() => frames.open(['plain']));
    after(() => frames.close());

    it('corner case 39: a flood of more flows than conntrack holds ends none in use, and opens nothing that is denied', async () => {
      await live.policy(forClient('[{}]', '[{toEntities: [all]}]'));
      const used = await traffic.connect('client', 'server', 80);
      const frame = frames.frame('plain', 'far', udp(1024, 0));
      const flows = live.conntrackEntries('node1') * 1.1;
      for (let sent = 0; sent < flows; sent += BURST) {
        frame.writeUInt32BE(1024 * 65_536 + sent, PORTS_AT);
        await frames.pod('plain').wire.send(frame, BURST, PORTS_AT);
        assert.ok(await echo(used), `after ${sent} flows`);
      }
      assert.equal(await traffic.tcp('server', 'client', 80), '133');
      assert.equal(await traffic.tcp('client', 'server', 80), 'open');
      assert.equal(await traffic.tcp('client', 'server2', 80), 'open');
    });
  });
}
