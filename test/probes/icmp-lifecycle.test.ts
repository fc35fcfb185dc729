import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { types } from 'node:util';
import { Worker } from 'node:worker_threads';
import { IcmpProber } from '../../probes/icmp/index.ts';
import { nativeIcmp } from '../../probes/icmp/native.ts';
import { loadAddon } from '../../src/base/assets.ts';
import { openSockets } from '../support/open-sockets.ts';
import { rawSocketOrSkip } from '../support/privilege.ts';

const INDEX = new URL('../../probes/icmp/index.ts', import.meta.url).href;

/** BPF_MAP_TYPE_HASH. */
const HASH_MAP = 1;

describe('the life of ICMP sockets', { skip: rawSocketOrSkip() }, () => {
  it('closes them with probes under way, and again does nothing', async () => {
    const before = openSockets();
    const prober = new IcmpProber({ timeoutMs: 50 }, { onOutcomes: () => assert.fail('told after stop') });
    prober.start();
    assert.equal(openSockets(), before + 2);
    const path = prober.openPath('127.0.0.1');
    const silent = new IcmpProber({ timeoutMs: 50, gatherMs: 10 }, { onOutcomes: () => undefined });
    silent.start();
    silent.send(Uint32Array.of(silent.openPath('127.0.0.1')));
    silent.stop();
    prober.closePath(path);
    prober.stop();
    prober.stop();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(openSockets(), before);
    assert.throws(() => prober.send(Uint32Array.of(path)), /not open/);
  });

  it('takes no handle of another addon for one of its own', () => {
    const other = loadAddon<{ mapCreate(...words: unknown[]): unknown }>('bpf.node');
    const handle = other.mapCreate(HASH_MAP, 'foreign', 4, 4, 1, 0, undefined);
    assert.ok(types.isExternal(handle));
    const { now, close } = nativeIcmp() as unknown as Record<'now' | 'close', (socket: unknown) => unknown>;
    assert.throws(() => now(handle), /handle of this addon/);
    assert.throws(() => close(handle), /handle of this addon/);
  });

  it('closes them when the thread that opened them is ended', async () => {
    const before = openSockets();
    const source = `
      import { parentPort } from 'node:worker_threads';
      import { IcmpProber } from ${JSON.stringify(INDEX)};
      const prober = new IcmpProber({}, { onOutcomes: () => undefined });
      prober.start();
      const path = prober.openPath('127.0.0.1');
      setInterval(() => prober.send(Uint32Array.of(path)), 1);
      parentPort.postMessage('up');
    `;
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
      await once(worker, 'message');
      await worker.terminate();
    }
    assert.ok(openSockets() <= before + 1, `${openSockets()} sockets, ${before} before`);
  });

  it('refuses options that make no sense, before a socket is opened', () => {
    for (const options of [{ dscp: 64 }, { payloadBytes: 10 }, { hopLimit: 0 }, { timeoutMs: 0 }]) {
      assert.throws(() => new IcmpProber(options, { onOutcomes: () => undefined }), { code: 'USAGE' });
    }
  });

  it('refuses addresses that are none', () => {
    const prober = new IcmpProber({}, { onOutcomes: () => undefined });
    for (const address of ['1.2.3', 'fe80::1%eth0', 'host', '']) {
      assert.throws(() => prober.openPath(address), { code: 'IP_INVALID' });
    }
  });
});
