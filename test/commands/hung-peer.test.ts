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
});
