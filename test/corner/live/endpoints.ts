import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { agentClient } from '../../../src/lab/agent-process.ts';
import { policyRealized } from '../../../src/lab/demo/observe.ts';
import { podLabels } from '../../../src/lab/workload.ts';
import { readPolicy, rulesText } from '../../../src/policy/index.ts';
import type { LiveLab } from '../../support/live-lab.ts';
import { echo } from '../../support/live-traffic.ts';
import { FROM_CLIENT, PORT_80, toServers } from './rules.ts';
import { PORTS, type Stage } from './stage.ts';

/** Longer than the first two times that TCP sends again. */
const CUT_MS = 900;
/** Together longer than it takes to make an endpoint. */
const STAGES = 6;
const STAGE_MS = 7;

/** Gives the agent of node1 rules, and waits for no endpoint to have them. */
function put(live: LiveLab, text: string): Promise<unknown> {
  return agentClient(live.lab.node('node1')).putPolicy(rulesText(readPolicy(text, { file: 'case.yaml' })));
}

/** Waits until the endpoints of node1 have the rules of its agent. */
async function realized(live: LiveLab): Promise<void> {
  const node = live.lab.node('node1');
  await policyRealized(node, (await agentClient(node).policy()).revision ?? 0);
}

/** Endpoints that come, change and go. */
export function defineEndpoints({ live, traffic }: Stage): void {
  it('corner case 36: an endpoint made while policies change has the last one; an address that goes to another pod at once has its identity', async () => {
    const text = (port: number): string =>
      toServers(`[{${FROM_CLIENT}, toPorts: [{ports: [{port: "${port}", protocol: TCP}]}]}]`);
    await live.policy(text(80));
    let isMade = false;
    const making = live.lab
      .addWorkload({ name: 'late', node: 'node1', labels: ['k8s:app=server'] })
      .finally(() => {
        isMade = true;
      });
    // The last one begins before the endpoint is made, and none comes after it.
    let changes = 0;
    while (!isMade) await put(live, text(changes++ % 2 === 0 ? 443 : 80));
    await making;
    assert.ok(changes > 1, `${changes} changes came while it was made`);
    await realized(live);
    await traffic.serve('late', PORTS);
    const [open, closed] = changes % 2 === 0 ? [80, 443] : [443, 80];
    assert.equal(await traffic.tcp('client', 'late', open), 'open');
    assert.equal(await traffic.tcp('client', 'late', closed), '133');
    assert.equal(await traffic.tcp('plain', 'late', open), '133');

    // One change for each stage of the making.
    for (let stage = 0; stage < STAGES; stage++) {
      const [next, former] = stage % 2 === 0 ? [closed, open] : [open, closed];
      await Promise.all([
        live.replace('late', podLabels(['k8s:app=server'])),
        delay(stage * STAGE_MS).then(() => put(live, text(next))),
      ]);
      await realized(live);
      assert.equal(await traffic.tcp('client', 'late', next), 'open', `stage ${stage}`);
      assert.equal(await traffic.tcp('client', 'late', former), '133', `stage ${stage}`);
    }

    await live.relabel('late', podLabels(['k8s:app=first']));
    await live.policy(toServers(`[{fromEndpoints: [{matchLabels: {app: first}}], ${PORT_80}}]`));
    const established = await traffic.connect('late', 'server2', 80);
    assert.ok(await echo(established));
    await live.replace('late', podLabels(['k8s:app=second']));
    await live.known('late');
    assert.equal(await traffic.tcp('late', 'server', 80), '133');
    assert.equal(await traffic.tcp('late', 'server2', 80), '133');
    assert.equal(await echo(established, CUT_MS), false, 'nor does what the other pod had');
    await live.change(toServers(`[{fromEndpoints: [{matchLabels: {app: second}}], ${PORT_80}}]`));
    assert.equal(await traffic.tcp('late', 'server2', 80), 'open', 'by a rule for what it is now');
  });

  it('corner case 46: an endpoint without labels yet is locked both ways until a rule names it or its labels come', async () => {
    await live.lab.addWorkload({ name: 'starting', node: 'node1', labels: [], unlabelled: true });
    await live.known('starting');
    await traffic.serve('starting', [80]);
    assert.equal((await live.endpoint('starting')).status?.identity?.id, 5);
    const both = async (): Promise<readonly string[]> => [
      await traffic.tcp('client', 'starting', 80),
      await traffic.tcp('starting', 'server', 80),
      await traffic.udp('starting', 'server2', 80),
    ];
    assert.deepEqual(await both(), ['133', '133', '133']);
    await live.change(
      '- endpointSelector: {matchLabels: {"reserved:init": ""}}\n  egress: [{toEntities: [all], toPorts: [{ports: [{port: "80", protocol: UDP}]}]}]\n',
    );
    assert.deepEqual(await both(), ['133', '133', 'open']);
    await live.relabel('starting', podLabels(['k8s:app=started']));
    assert.deepEqual(await both(), ['open', 'open', 'open'], 'no rule is for it any more');
  });
}

/** What a killed or differently started agent means; defined last, since the one of node1 is another one afterwards. */
export function defineAgents({ live, traffic }: Stage): void {
  const text = (ports: string): string => toServers(`[{${FROM_CLIENT}, toPorts: [{ports: [${ports}]}]}]`);
  const [ONE, TWO] = ['{port: "80"}', '{port: "80"}, {port: "443"}'];

  it('corner case 40: an agent killed amid an update takes nothing along; started again it converges without a drop', async () => {
    const node = live.lab.node('node1');
    const opens = async (port: number): Promise<boolean> =>
      echo(await traffic.connect('client', 'server', port));
    const kills = {
      'as it comes': async () => {
        const update = put(live, text(TWO)).catch(() => undefined);
        await new Promise((resolve) => setImmediate(resolve));
        live.killAgent('node1');
        await update;
      },
      'when it was accepted': async () => {
        await put(live, text(TWO));
        live.killAgent('node1');
      },
    };
    await live.policy(text(ONE));
    const allowed = await traffic.stream('client', 'server', 80);
    const denied = await traffic.stream('plain', 'server', 80);
    for (const [when, kill] of Object.entries(kills)) {
      await kill();
      assert.ok(await opens(80), 'without an agent');
      assert.equal(await traffic.tcp('plain', 'server', 80), '133', 'without an agent');
      await live.restartAgent('node1');
      await realized(live);
      const isNew = /"port":\s*"443"/.test((await agentClient(node).policy()).policy ?? '');
      assert.ok(isNew || when === 'as it comes', 'what was accepted is kept');
      // As the rules that it has say.
      if (isNew) assert.ok(await opens(443), when);
      else assert.equal(await traffic.tcp('client', 'server', 443), '133', when);
      await live.change(text(ONE));
      assert.equal(await traffic.tcp('client', 'server', 443), '133', 'it takes the next change');
    }
    const [sent, came] = await allowed.end();
    assert.ok(sent > 100, `${sent} datagrams of the allowed flow were sent`);
    assert.equal(came, sent, 'each of them was answered');
    const [tried, passed] = await denied.end();
    assert.ok(tried > 100, `${tried} datagrams of the denied flow were sent`);
    assert.equal(passed, 0);
  });

  it('corner case 45: a label that the filter leaves out makes no identity, and no rule sees it', async () => {
    const from = (label: string): string => toServers(`[{fromEndpoints: [{matchLabels: {${label}}}]}]`);
    const reach = async (): Promise<readonly string[]> => [
      await traffic.tcp('client', 'server', 80),
      await traffic.tcp('client', 'server2', 80),
    ];
    const tiers = async (): Promise<readonly string[]> => {
      const labels = (await live.endpoint('client')).status?.labels;
      return [labels?.['security-relevant'], labels?.derived, labels?.realized?.user].map((list) =>
        String((list ?? []).includes('k8s:tier=front')),
      );
    };
    await live.policy(from('tier: front'));
    assert.deepEqual(await reach(), ['open', 'open']);
    assert.deepEqual(await tiers(), ['true', 'false', 'true']);
    await live.restartAgent('node1', ['--labels=k8s:!tier']);
    await live.identified('client', (labels) => !labels.includes('k8s:tier=front'));
    assert.deepEqual(await tiers(), ['false', 'true', 'true'], 'the endpoint has it still');
    assert.deepEqual(await reach(), ['133', '133']);
    await live.policy(from('app: client'));
    assert.deepEqual(await reach(), ['open', 'open']);
    await live.restartAgent('node1', ['--labels=k8s:tier']);
    await live.identified('client', (labels) => !labels.includes('k8s:app=client'));
    assert.deepEqual(
      await reach(),
      ['open', '133'],
      'no rule for app=server is for the server of this node now',
    );
    await live.policy(from('tier: front'));
    assert.deepEqual(await reach(), ['open', 'open']);
  });
}
