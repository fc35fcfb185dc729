import { LocalStore } from '../../src/store/index.ts';
import { label, node } from './contract.ts';

/** Run by `local-store.test.ts`: allocates the same 40 identities as its brothers, at the same time, and sends them back. */
const [path = '', who = ''] = process.argv.slice(2);
const store = new LocalStore({ path }, { log: { info: () => undefined, warn: console.error } });
await store.start();
await store.putNode(node(`child-${who}`, `192.0.2.${who}`));
const numbers: Record<string, number> = {};
await Promise.all(
  Array.from({ length: 40 }, async (_, i) => {
    const turn = (i * 7 + Number(who) * 13) % 40;
    numbers[`app-${turn}`] = (await store.allocateIdentity([label(`k8s:app=app-${turn}`)])).id;
  }),
);
await store.stop();
process.send?.(numbers, () => process.disconnect());
