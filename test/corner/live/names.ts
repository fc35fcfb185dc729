import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as dnsPacket from 'dns-packet';

import type { Zone } from '../../support/dns-server.ts';
import { echo, OPEN_MS } from '../../support/live-traffic.ts';
import { OUTSIDE } from '../../support/outside.ts';
import { eventually, type StartedProcess, startProcess } from '../../support/process.ts';
import { fromClient } from './rules.ts';
import type { Stage } from './stage.ts';

const SERVER = join(import.meta.dirname, '../../support/dns-server.ts');
const BRIEF_TTL_MS = 1000;
const ZONE: Zone = {
  'www.x.io': { a: ['192.0.2.1'], ttl: 1 },
  'alias.x.io': { cname: 'edge.cdn.net' },
  'edge.cdn.net': { a: ['192.0.2.2'], ttl: 1 },
  'liar.y.io': { cname: 'told.x.io' },
  'told.x.io': { a: ['192.0.2.4'], ttl: 60 },
  'brief.x.io': { a: ['192.0.2.3'], ttl: BRIEF_TTL_MS / 1000 },
};
const POLICY = fromClient(`
- toCIDR: [${OUTSIDE[4]}/32]
  toPorts: [{ports: [{port: "53", protocol: UDP}], rules: {dns: [{matchPattern: "*.x.io"}, {matchPattern: "*.y.io"}]}}]
- toFQDNs: [{matchPattern: "*.X.io"}]
  toPorts: [{ports: [{port: "80", protocol: TCP}]}]`);
const REFUSED = 5;

/** Names, through the DNS proxy of the client's node. */
export function defineNames({ live, traffic }: Stage): void {
  describe('names', () => {
    let server: StartedProcess;
    before(async () => {
      const argv = [process.execPath, SERVER, JSON.stringify(ZONE)];
      server = await startProcess(['nsenter', `--net=${live.place('outside').netns}`, '--', ...argv]);
      await server.waitForLine(/^ready$/);
    });
    after(() => server?.stop('SIGKILL'));

    /** The addresses that the client is told, or the code that it is refused with. */
    const ask = async (name: string): Promise<readonly string[] | number> => {
      const socket = await traffic.udpSocket('client');
      const query = { type: 'query', id: randomInt(65_536), flags: dnsPacket.RECURSION_DESIRED } as const;
      const answer = once(socket, 'message', { signal: AbortSignal.timeout(OPEN_MS) });
      socket.send(dnsPacket.encode({ ...query, questions: [{ type: 'A', name }] }), 53, OUTSIDE[4]);
      const message = (await answer)[0] as Buffer;
      const code = message.readUInt8(3) & 0x0f;
      if (code !== 0) return code;
      const { answers = [] } = dnsPacket.decode(message);
      return answers.flatMap((record) => (record.type === 'A' ? [record.data] : []));
    };
    const visit = (address: string): Promise<string> => traffic.tcp('client', 'outside', 80, { address });

    it('corner case 27: an alias has the address that it leads to, and gives none to others; case does not count, nor what was typed before the search; an address outlives its TTL with a connection', async () => {
      await live.policy(POLICY);
      assert.equal(await visit('192.0.2.1'), '133', 'before it was asked for');
      assert.deepEqual(await ask('WwW.x.IO'), ['192.0.2.1']);
      const connection = await traffic.connect('client', 'outside', 80, { address: '192.0.2.1' });
      assert.deepEqual(await ask('alias.x.io'), ['192.0.2.2']);
      assert.equal(await visit('192.0.2.2'), 'open', 'at the end of the alias');
      assert.deepEqual(await ask('liar.y.io'), ['192.0.2.4']);
      assert.equal(await visit('192.0.2.4'), '133', 'what an alias claims of a name that counts');
      assert.deepEqual(await ask('brief.x.io'), ['192.0.2.3']);
      assert.equal(await visit('192.0.2.3'), 'open');
      assert.equal(await ask('www.x.io.svc.local'), REFUSED);
      assert.doesNotMatch(server.output(), /svc\.local/);

      const file = join(live.lab.node('node1').paths.stateDir, 'fqdn-cache.json');
      await eventually('the names are saved', () =>
        existsSync(file) && /brief\.x\.io/.test(readFileSync(file, 'utf8')) ? true : undefined,
      );
      // An agent that starts looks at once for what is over, and then once a minute.
      await delay(BRIEF_TTL_MS);
      await live.restartAgent('node1', ['--tofqdns-idle-connection-grace-period=0s']);
      await eventually('the end of a name that nobody uses', async () =>
        (await visit('192.0.2.3')) === '133' ? true : undefined,
      );
      assert.ok(await echo(connection), 'the connection goes on');
      assert.equal(await visit('192.0.2.1'), 'open', 'and its address stays');
    });
  });
}
