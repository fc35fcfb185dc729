import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, it } from 'node:test';
import { LocalStore } from '../../src/store/index.ts';
import { Collector, describeStore, label, node } from './contract.ts';

const folder = mkdtempSync(join(tmpdir(), 'ciliate-store-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const nextFile = (): string => join(folder, `s${files++}.db`);
const quiet = { info: () => undefined, warn: () => undefined };

async function started(
  path: string,
  options: { pollMs?: number; busyDeadlineMs?: number } = {},
): Promise<LocalStore> {
  const store = new LocalStore({ path, ...options }, { log: quiet });
  await store.start();
  return store;
}

describeStore('local', async () => {
  const path = nextFile();
  const [first, second] = [await started(path), await started(path)];
  return { first, second, dispose: async () => void (await Promise.all([first.stop(), second.stop()])) };
});

describe('LocalStore', () => {
  it('lets several processes allocate at once without a duplicate or a lost write', async () => {
    const path = nextFile();
    const script = new URL('./allocate-child.ts', import.meta.url);
    const children = [0, 1, 2].map((who) =>
      fork(script, [path, String(who)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
    );
    const answers = await Promise.all(
      children.map(async (child) => {
        const [[message]] = await Promise.all([once(child, 'message'), once(child, 'exit')]);
        return message as Record<string, number>;
      }),
    );
    const [first] = answers;
    assert.equal(Object.keys(first ?? {}).length, 40);
    for (const answer of answers) assert.deepEqual(answer, first);
    assert.equal(new Set(Object.values(first ?? {})).size, 40);
    const store = await started(path);
    assert.equal((await store.listIdentities()).length, 40);
    assert.equal((await store.listNodes()).length, 3);
    await store.stop();
  });

  it('starts an identity search at a random number and wraps round at the end of the range', async () => {
    const path = nextFile();
    const store = new LocalStore({ path }, { log: quiet, random: () => 0.9999999 });
    await store.start();
    const last = await store.allocateIdentity([label('k8s:n=1')]);
    const wrapped = await store.allocateIdentity([label('k8s:n=2')]);
    assert.deepEqual([last.id, wrapped.id], [65535, 256]);
    await store.stop();
  });

  it('waits out the lock of another process without blocking the event loop', async () => {
    const path = nextFile();
    const store = await started(path);
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    const write = store.putNode(node('n', '192.0.2.1'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    other.exec('COMMIT');
    other.close();
    await write;
    assert.equal((await store.listNodes()).length, 1);
    await store.stop();
  });

  it('rejects with STORE_UNAVAILABLE when the lock is held past the deadline, and answers reads meanwhile', async () => {
    const path = nextFile();
    const store = await started(path, { busyDeadlineMs: 30 });
    await store.putNode(node('n', '192.0.2.1'));
    const other = new DatabaseSync(path);
    other.exec('BEGIN EXCLUSIVE');
    await assert.rejects(store.putNode(node('m', '192.0.2.2')), { code: 'STORE_UNAVAILABLE' });
    assert.equal(store.status().state, 'Failure');
    assert.deepEqual(
      (await store.listNodes()).map(({ name }) => name),
      ['n'],
    );
    other.exec('COMMIT');
    other.close();
    await store.putNode(node('m', '192.0.2.2'));
    assert.equal(store.status().state, 'Ok');
    await store.stop();
  });

  it('sets a file aside that is no database, says so, and starts empty', async () => {
    const path = nextFile();
    writeFileSync(
      path,
      'this is not a database, and it is long enough to have a header of one hundred bytes.'.repeat(9),
    );
    const store = await started(path);
    assert.equal(store.status().state, 'Warning');
    assert.match(store.status().message, /corrupt-/);
    assert.deepEqual(await store.listNodes(), []);
    await store.stop();
  });

  it('writes back what it holds when the file turns corrupt under it, and the other agent follows', async () => {
    const path = nextFile();
    const first = await started(path, { pollMs: 20 });
    const second = await started(path, { pollMs: 20 });
    await first.putNode(node('n', '192.0.2.1'));
    const identity = await first.allocateIdentity([label('k8s:app=kept')]);
    const collector = new Collector();
    await second.watch(collector.listener);
    await collector.until((changes) => changes.some((change) => change.kind === 'identity-upsert'));
    rmSync(`${path}-wal`);
    rmSync(`${path}-shm`);
    writeFileSync(path, Buffer.alloc(64 * 1024, 'garbage '));
    await first.putNode(node('after', '192.0.2.2'));
    assert.deepEqual(
      (await first.listNodes()).map(({ name }) => name),
      ['after', 'n'],
    );
    assert.deepEqual(await first.getIdentity(identity.id), identity);
    await collector.until((changes) =>
      changes.some((change) => change.kind === 'node-upsert' && change.node.name === 'after'),
    );
    assert.deepEqual((await second.allocateIdentity(identity.labels)).id, identity.id);
    assert.ok(readdirSync(folder).some((name) => name.includes('.corrupt-')));
    await Promise.all([first.stop(), second.stop()]);
  });

  it('gives the view back when the file is deleted', async () => {
    const path = nextFile();
    const store = await started(path);
    const { id, labels } = await store.allocateIdentity([label('k8s:app=kept')]);
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    await store.putNode(node('n', '192.0.2.1'));
    await store.stop();
    const again = await started(path);
    assert.equal((await again.allocateIdentity(labels)).id, id);
    await again.stop();
  });

  it('brings a watcher up to date that fell behind the log of changes', async () => {
    const path = nextFile();
    const store = await started(path, { pollMs: 20 });
    await store.putNode(node('gone', '192.0.2.1'));
    const collector = new Collector();
    await store.watch(collector.listener);
    const other = await started(path);
    await other.deleteNode('gone');
    await other.putNode(node('new', '192.0.2.2'));
    const raw = new DatabaseSync(path, { timeout: 1000 });
    raw.exec(
      'DELETE FROM changes; INSERT INTO changes (seq, body) VALUES (99999, \'{"kind":"identity-delete","id":1}\');',
    );
    raw.close();
    await collector.until((changes) =>
      changes.some((change) => change.kind === 'node-upsert' && change.node.name === 'new'),
    );
    assert.deepEqual(
      (await store.listNodes()).map(({ name }) => name),
      ['new'],
    );
    await Promise.all([store.stop(), other.stop()]);
  });

  it('leaves out what is no record, says so, and goes on following the rest', async () => {
    const path = nextFile();
    const store = await started(path, { pollMs: 20 });
    const collector = new Collector();
    await store.watch(collector.listener);
    const raw = new DatabaseSync(path, { timeout: 1000 });
    for (const body of ['null', '{', '{"kind":"nonsense"}', '{"kind":"node-upsert","node":null}']) {
      raw.prepare('INSERT INTO changes (body) VALUES (?)').run(body);
    }
    raw.exec(
      "INSERT INTO nodes (name, body) VALUES ('bad', 'null'); INSERT INTO ips VALUES ('a', 'b', '{');",
    );
    raw.close();
    const other = await started(path);
    await other.putNode(node('good', '192.0.2.2'));
    await collector.until((changes) =>
      changes.some((change) => change.kind === 'node-upsert' && change.node.name === 'good'),
    );
    const { state, message } = store.status();
    assert.deepEqual([state, other.status().state], ['Warning', 'Warning']);
    assert.match(message, /left out: 1 rows of nodes, 1 rows of ips/);
    await Promise.all([store.stop(), other.stop()]);
  });

  it('names the folder that is missing', async () => {
    const store = new LocalStore({ path: join(folder, 'missing', 's.db') }, { log: quiet });
    await assert.rejects(store.start(), { code: 'STORE_UNAVAILABLE', message: /missing\/s\.db/ });
  });
});
