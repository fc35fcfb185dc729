import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { cli, FakeNode, recordedHandler } from './cli.ts';

describe('a health agent that takes requests and never answers', () => {
  const node = new FakeNode();
  before(async () => {
    await node.serve('ciliate.sock', recordedHandler('agent-responses.json'));
    await node.serve('health.sock', () => undefined);
  });
  after(() => node.close());

  it('does not keep `status` from showing the agent for more than a few seconds', async () => {
    const started = performance.now();
    const { stdout } = await cli(['status', '--state-dir', node.stateDir]);
    assert.ok(performance.now() - started < 12_000);
    assert.match(stdout, /^Cluster health: +Warning +cilium-health daemon unreachable/m);
  });

  it('is waited for by `health probe` for as long as its probes may take, and not for as long as any may', async () => {
    const argv = ['health', 'probe', 'n2', '--timeout', '1s', '--state-dir', node.stateDir];
    const { code, stderr } = await cli(argv);
    assert.equal(code, 4);
    assert.match(stderr, /did not answer PUT \/v1beta\/probe within 11 s/);
  });
});
