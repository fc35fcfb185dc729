import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type KernelFacts, missingForDatapath } from '../../src/base/kernel-features.ts';

const FIRST = '         0          0 4294967295\n';
const [NET_ADMIN, SYS_ADMIN, BPF] = [1n << 12n, 1n << 21n, 1n << 39n];

function facts(capabilities: bigint, change: Partial<KernelFacts> = {}): KernelFacts {
  const status = `Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t${capabilities.toString(16).padStart(16, '0')}\n`;
  return { status, uidMap: FIRST, release: '6.6.0-7-x', ...change };
}

describe('what the BPF datapath lacks', () => {
  it('is nothing with CAP_NET_ADMIN and CAP_BPF, or CAP_SYS_ADMIN in its place', () => {
    assert.deepEqual(missingForDatapath(facts(NET_ADMIN | BPF)), []);
    assert.deepEqual(missingForDatapath(facts(NET_ADMIN | SYS_ADMIN, { release: '7.0.1' })), []);
  });

  it('is named, all of it', () => {
    const uidMap = '         0       1000          1\n';
    const missing = missingForDatapath(facts(0n, { uidMap, release: '6.5.13' })).join('; ');
    assert.match(
      missing,
      /^CAP_BPF; CAP_NET_ADMIN; .*user namespace.*; Linux 6\.6 for tcx links \(this is 6\.5\.13\)$/,
    );
  });

  it('is the first user namespace for who is root of another one', () => {
    const missing = missingForDatapath(facts(NET_ADMIN | SYS_ADMIN | BPF, { uidMap: '0 1000 1\n' }));
    assert.equal(missing.length, 1);
    assert.match(missing[0] ?? '', /user namespace/);
  });
});
