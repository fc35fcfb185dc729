import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { monitorEvents } from '../../src/api/events-client.ts';
import type { AgentEvent, MonitorEvent } from '../../src/model/event.ts';
import { MonitorHub } from '../../src/monitor/index.ts';

const agentEvent = (n: number, padding = ''): AgentEvent => ({
  kind: 'agent',
  subtype: 'test',
  message: { n, padding },
});
const numberOf = (event: MonitorEvent): unknown => (event.kind === 'agent' ? event.message.n : event.kind);

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('MonitorHub', () => {
  let folder = '';
  let socketPath = '';
  const hubs: MonitorHub[] = [];

  const started = async (
    options: { queueBytes?: number; maxListeners?: number } = {},
  ): Promise<MonitorHub> => {
    const hub = new MonitorHub({ socketPath, ...options });
    hubs.push(hub);
    await hub.start();
    return hub;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ciliate-monitor-'));
    socketPath = join(folder, 'events.sock');
  });
  afterEach(async () => {
    for (const hub of hubs.splice(0)) await hub.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('hands events to every listener in order, from the moment it listens', async () => {
    const hub = await started();
    hub.publish([agentEvent(0)]);
    const collect = async (): Promise<unknown[]> => {
      const seen: unknown[] = [];
      for await (const event of monitorEvents({ socketPath })) {
        seen.push(numberOf(event));
        if (seen.length === 3) break;
      }
      return seen;
    };
    const both = [collect(), collect()];
    await until(() => hub.listenerCount === 2);
    hub.publish([agentEvent(1), agentEvent(2)]);
    hub.publish([agentEvent(3)]);
    assert.deepEqual(await Promise.all(both), [
      [1, 2, 3],
      [1, 2, 3],
    ]);
    await until(() => hub.listenerCount === 0);
    assert.deepEqual(hub.stats().events, { drop: 0, trace: 0, 'policy-verdict': 0, agent: 4, l7: 0 });
  });

  it('serialises nothing while nobody listens', async () => {
    const hub = await started();
    const event = { ...agentEvent(1), toJSON: () => assert.fail('it was serialised') };
    hub.publish([event]);
    assert.equal(hub.stats().events.agent, 1);
  });

  it('drops for a slow listener, tells it how many, and holds up nobody else', async () => {
    const hub = await started({ queueBytes: 4096 });
    const slow: Socket = connect(socketPath);
    await once(slow, 'connect');
    slow.pause();
    let fast = 0;
    const reader = (async () => {
      for await (const event of monitorEvents({ socketPath })) {
        if (event.kind === 'agent') fast++;
        if (fast === 5000) return;
      }
    })();
    await until(() => hub.listenerCount === 2);
    for (let n = 0; n < 5000; n++) {
      hub.publish([agentEvent(n, 'x'.repeat(200))]);
      if (n % 10 === 9) await until(() => fast === n + 1);
    }
    await reader;
    const { lost } = hub.stats();
    assert.ok(lost.listener > 0);
    const seen: MonitorEvent[] = [];
    let rest = '';
    slow.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      seen.push(...lines.map((line) => JSON.parse(line) as MonitorEvent));
    });
    slow.resume();
    const told = (): number =>
      seen.reduce((sum, event) => sum + (event.kind === 'lost' ? event.count : 0), 0);
    const got = (): number => seen.filter((event) => event.kind === 'agent').length;
    await until(() => told() + got() === 5000);
    assert.equal(told(), lost.listener);
    const numbers = seen.filter((event) => event.kind === 'agent').map(numberOf) as number[];
    assert.deepEqual(
      numbers,
      [...numbers].sort((a, b) => a - b),
    );
    slow.destroy();
  });

  it('survives listeners that talk, break off, or are too many', async () => {
    const hub = await started({ maxListeners: 2 });
    const talker = connect(socketPath);
    await once(talker, 'connect');
    talker.write('x'.repeat(100_000));
    const other = connect(socketPath);
    await once(other, 'connect');
    await until(() => hub.listenerCount === 2);
    const third = connect(socketPath);
    await once(third, 'close');
    other.destroy();
    await until(() => hub.listenerCount === 1);
    hub.publish([agentEvent(1)]);
    const [line] = await once(talker, 'data');
    assert.match(String(line), /"n":1/);
    talker.destroy();
  });

  it('gives the socket to its group only, takes over a dead one, refuses a live one, removes it at stop', async () => {
    const dead = createServer().listen(socketPath);
    await once(dead, 'listening');
    const hub = new MonitorHub({ socketPath });
    await assert.rejects(hub.start(), { code: 'EVENTS_SOCKET_BUSY' });
    dead.close();
    await once(dead, 'close');
    await hub.start();
    assert.equal(statSync(socketPath).mode & 0o777, 0o660);
    await hub.stop();
    await hub.stop();
    assert.equal(existsSync(socketPath), false);
    await assert.rejects(new MonitorHub({ socketPath: join(folder, 'none', 'x.sock') }).start(), {
      code: 'EVENTS_SOCKET',
    });
  });

  it('counts what was lost before it came here', async () => {
    const hub = await started();
    hub.publish([{ kind: 'lost', source: 'ring', count: 7 }]);
    assert.deepEqual(hub.stats().lost, { ring: 7, listener: 0, proxy: 0 });
  });

  it('ends the stream of its listeners at stop', async () => {
    const hub = await started();
    const seen: unknown[] = [];
    const reader = (async () => {
      for await (const event of monitorEvents({ socketPath })) seen.push(numberOf(event));
    })();
    await until(() => hub.listenerCount === 1);
    hub.publish([agentEvent(1)]);
    await hub.stop();
    await reader;
    assert.deepEqual(seen, [1]);
  });
});

describe('monitorEvents', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ciliate-events-'));
  const socketPath = join(folder, 'events.sock');
  const drain = async (): Promise<void> => {
    for await (const _ of monitorEvents({ socketPath })) assert.fail('an event came');
  };

  it('rejects where nobody serves, and on lines that are no events', async () => {
    await assert.rejects(drain(), { code: 'SOURCE_UNREACHABLE', exitCode: 4 });
    const server = createServer((socket) => socket.end('{"kind"\n')).listen(socketPath);
    await once(server, 'listening');
    await assert.rejects(drain(), { code: 'SOURCE_BAD_ANSWER' });
    server.close();
    await once(server, 'close');
    rmSync(folder, { recursive: true, force: true });
  });

  it('ends without an error when aborted', async () => {
    const own = mkdtempSync(join(tmpdir(), 'ciliate-events-'));
    const hub = new MonitorHub({ socketPath: join(own, 'e.sock') });
    await hub.start();
    const abort = new AbortController();
    const options = { socketPath: join(own, 'e.sock'), signal: abort.signal, onOpen: () => abort.abort() };
    for await (const _ of monitorEvents(options)) assert.fail('an event came');
    await hub.stop();
    rmSync(own, { recursive: true, force: true });
  });
});
