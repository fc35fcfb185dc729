import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { healthStatus } from '../../src/view/health.ts';
import type { HealthView } from '../../src/view/types.ts';

const http = { latency: 300_000, lastProbed: '2026-01-01T00:00:00Z' };
const health: HealthView = {
  timestamp: '2026-01-01T00:00:00Z',
  probeInterval: '1s',
  local: { name: 'n1' },
  nodes: [
    {
      name: 'n2',
      host: {
        'primary-address': { ip: '10.0.0.2', http },
        'secondary-addresses': [{ ip: 'fd00::2', http }],
      },
    },
  ],
  'icmp-modes': { ipv4: 'off: not permitted', ipv6: 'raw' },
};

describe('health status of our health agent', () => {
  it('says of each family why there is no ICMP result', () => {
    const text = healthStatus(health, { verbose: true });
    const lines = text.split('\n').map((line) => line.trim().replace(/ +/g, ' '));
    assert.deepEqual(
      lines.filter((line) => line.startsWith('ICMP to stack:')),
      ['ICMP to stack: unknown: ICMP is off: not permitted', 'ICMP to stack: unknown: not probed yet'],
    );
    assert.match(text, /^ICMP sockets: +IPv4 off: not permitted, IPv6 raw$/m);
    assert.doesNotMatch(healthStatus(health), /ICMP/, 'the short form stays short');
  });

  it('says in every form that the node list is old, and why', () => {
    const stale = { ...health, 'nodes-stale': { since: '2026-01-01T00:00:00Z', reason: 'agent is away' } };
    for (const verbose of [false, true]) {
      assert.match(
        healthStatus(stale, { verbose }),
        /^Node list: +old, of 2026-01-01T00:00:00Z: agent is away$/m,
      );
    }
    assert.doesNotMatch(healthStatus(health), /Node list/);
  });

  it('keeps the records of others to the byte: nothing of ours in --compat', () => {
    const { 'icmp-modes': _modes, ...theirs } = health;
    const ours = { ...health, 'nodes-stale': { since: 'x', reason: 'y' } };
    for (const compat of ['2018', '1.19'] as const) {
      assert.equal(
        healthStatus(ours, { compat, verbose: true }),
        healthStatus(theirs, { compat, verbose: true }),
      );
    }
  });
});
