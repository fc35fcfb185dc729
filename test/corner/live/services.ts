import assert from 'node:assert/strict';
import { it } from 'node:test';
import { echo } from '../../support/live-traffic.ts';
import { object } from '../world.ts';
import { fromClient } from './rules.ts';
import type { Stage } from './stage.ts';

/** Longer than the first two times that TCP sends again. */
const CUT_MS = 900;
const TO_SERVICE = 'toServices: [{k8sService: {serviceName: shop, namespace: default}}]';
const service = (spec: string): string =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: default}\nspec: {ports: [{port: 80}]${spec}}\n`;
const endpoints = (...addresses: readonly string[]): string => {
  const list = addresses.map((ip) => `{ip: "${ip}"}`).join(', ');
  const subsets = addresses.length === 0 ? '[]' : `[{addresses: [${list}], ports: [{port: 80}]}]`;
  return `---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: shop, namespace: default}\nsubsets: ${subsets}\n`;
};

/** What rules mean by a service. There is no address of a service yet: clients know its backends. */
export function defineServices({ live, traffic }: Stage): void {
  const at = (address: string): Promise<string> =>
    traffic.tcp('client', 'outside', 80, { address, family: address.includes(':') ? 6 : 4 });
  const backends = (...addresses: readonly string[]): string =>
    fromClient(`[{${TO_SERVICE}}]`) + service('') + endpoints(...addresses);

  it('corner case 28: a pod of a service reaches the others by a rule for the service, and itself without any', async () => {
    const out = object(`endpointSelector: {matchLabels: {app: server}}\negress: [{${TO_SERVICE}}]`);
    await live.policy(out + service(', selector: {app: server}'));
    assert.equal(await traffic.tcp('server', 'server2', 80), 'open');
    assert.equal(await traffic.tcp('server', 'client', 80), '133');
    assert.equal(await traffic.tcp('server', 'server', 80), 'open');
    await live.change(out + service(', selector: {app: plain}'));
    assert.equal(await traffic.tcp('server', 'server2', 80), '133');
    assert.equal(await traffic.tcp('server', 'server', 80), 'open');
  });

  it('corner case 41: a service without backends is nobody, and flows to a backend that is removed are cut', async () => {
    await live.policy(backends());
    assert.deepEqual([await at('192.0.2.1'), await at('192.0.2.2')], ['133', '133']);
    await live.change(backends('192.0.2.1', '192.0.2.2'));
    assert.deepEqual([await at('192.0.2.1'), await at('192.0.2.2')], ['open', 'open']);
    const gone = await traffic.connect('client', 'outside', 80, { address: '192.0.2.1' });
    const kept = await traffic.connect('client', 'outside', 80, { address: '192.0.2.2' });
    await live.change(backends('192.0.2.2'));
    assert.deepEqual([await echo(gone, CUT_MS), await echo(kept)], [false, true]);
    assert.deepEqual([await at('192.0.2.1'), await at('192.0.2.2')], ['133', 'open']);
  });

  it('corner case 43: backends of both families are meant, each by its own addresses', async () => {
    await live.policy(backends('192.0.2.1', '2001:db8::1'));
    const all = ['192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8::7'];
    const reached = async (): Promise<readonly string[]> => {
      const outcomes: string[] = [];
      for (const address of all) outcomes.push(await at(address));
      return outcomes;
    };
    assert.deepEqual(await reached(), ['open', '133', 'open', '133']);
    await live.change(backends('2001:db8::1'));
    assert.deepEqual(await reached(), ['133', '133', 'open', '133']);
  });
}
