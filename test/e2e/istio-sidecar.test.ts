import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { agentClient } from '../../src/lab/agent-process.ts';
import { runOn } from '../../src/lab/demo/cli.ts';
import { endpointOf, policyRealized } from '../../src/lab/demo/observe.ts';
import { inNetns } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { waitFor } from '../../src/lab/processes.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { startProcess } from '../support/process.ts';
import { startTestLab, type TestLab } from './lab-support.ts';

const BYTES = join(import.meta.dirname, 'stream.mjs');
const DATAGRAMS = join(import.meta.dirname, 'datagrams.mjs');
const RULE = join(import.meta.dirname, '../fixtures/policy/istio-sidecar.json');
const SILENCE_MS = 1500;

/**
 * The rule as an operator of 2018 had it: a pod whose labels are not known yet may be reached by its host, and may reach
 * UDP port 53 of everybody and all of the namespace istio-system.
 */
describe('the rule istio-sidecar', { skip: bpfOrSkip() }, () => {
  let testLab: TestLab;
  let lab: Lab;

  const serve = async (name: string, script: string, port: number): Promise<void> => {
    const output = join(lab.layout.dir, `${name}-${port}.out`);
    await lab.runIn(name, [process.execPath, script, 'serve', String(port)], output);
    await waitFor({ what: `${name} serves`, timeoutMs: 10_000 }, () =>
      existsSync(output) && readFileSync(output, 'utf8').includes('serving') ? true : undefined,
    );
  };
  /** Whether a stream or a datagram from a workload, or from the node, is answered. */
  const answered = async (from: string, script: string, to: string, port: number): Promise<boolean> => {
    const netns = from === 'node1' ? lab.node(from).netns : lab.workload(from).netns;
    const host = lab.workload(to).ipv4 ?? '';
    const client = await startProcess(inNetns(netns, [process.execPath, script, 'send', host, String(port)]));
    try {
      return await client.waitForLine(/^(connected|echo)$/, SILENCE_MS).then(
        () => true,
        () => false,
      );
    } finally {
      await client.stop('SIGKILL');
    }
  };

  before(async () => {
    testLab = await startTestLab(1);
    lab = testLab.lab;
    const [node] = lab.layout.nodes;
    assert.ok(node !== undefined);
    await lab.addWorkload({ name: 'init', node: 'node1', labels: [], unlabelled: true });
    await lab.addWorkload({
      name: 'pilot',
      node: 'node1',
      labels: ['k8s:istio=pilot'],
      namespace: 'istio-system',
    });
    await lab.addWorkload({ name: 'plain', node: 'node1', labels: ['k8s:app=plain'] });
    for (const name of ['pilot', 'plain']) {
      await serve(name, BYTES, 8080);
      await serve(name, DATAGRAMS, 53);
      await serve(name, DATAGRAMS, 54);
    }
    await serve('init', BYTES, 8080);
  });
  after(() => testLab?.tearDown());

  it('corner case 46: before it, a pod without labels is locked both ways', async () => {
    assert.equal((await endpointOf(lab, 'init')).status?.identity?.id, 5);
    assert.equal(await answered('init', BYTES, 'pilot', 8080), false);
    assert.equal(await answered('init', DATAGRAMS, 'plain', 53), false);
    assert.equal(await answered('plain', BYTES, 'init', 8080), false);
  });

  it('is imported as it was shown, and enforced as it says', async () => {
    const [node] = lab.layout.nodes;
    assert.ok(node !== undefined);
    const imported = await runOn(node, ['policy', 'import', RULE]);
    assert.equal(imported.exitCode, 0, imported.stderr);
    await policyRealized(node, (await agentClient(node).policy()).revision ?? 0);
    const out = [
      await answered('init', BYTES, 'pilot', 8080),
      await answered('init', DATAGRAMS, 'pilot', 54),
      await answered('init', DATAGRAMS, 'plain', 53),
      await answered('init', DATAGRAMS, 'plain', 54),
      await answered('init', BYTES, 'plain', 8080),
    ];
    assert.deepEqual(out, [true, true, true, false, false], 'istio-system whole, of others UDP port 53');
    assert.equal(await answered('node1', BYTES, 'init', 8080), true, 'the host gets in');
    assert.equal(await answered('pilot', BYTES, 'init', 8080), false, 'nobody else does');
    assert.equal(await answered('plain', BYTES, 'pilot', 8080), true, 'others are not touched');
  });

  it('is shown by policy get as it was written', async () => {
    const [node] = lab.layout.nodes;
    assert.ok(node !== undefined);
    const shown = await runOn(node, ['policy', 'get']);
    const text = shown.stdout;
    for (const part of [
      '"reserved:init"',
      '"fromEntities"',
      '"toEntities"',
      'istio-sidecar',
      '"istio-system"',
    ]) {
      assert.ok(text.includes(part), part);
    }
  });
});
