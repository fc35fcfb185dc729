import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { notesOf } from '../../../src/health/mesh/index.ts';
import type { PathReport, PathState } from '../../../src/model/health.ts';
import { PROBE_KINDS } from '../../../src/model/health.ts';

const DIED_MS = 1_000_000;
const NEVER_CAME = {
  node: 'n1',
  hook: 'stamp',
  leg: 'request',
  reason: 'left this node and never came to the peer',
} as const;

/** A path between hosts, of which echoes are lost on the way where it is not reachable. */
function report(kind: string, state: PathState, lastAnsweredMs: number): PathReport {
  const index = PROBE_KINDS.findIndex(({ name }) => name === kind);
  return {
    path: { peer: 'n2', kind: index, family: 4, address: '10.0.0.2', primary: true },
    state,
    sinceMs: state === 'unreachable' ? DIED_MS : 1,
    lastAnsweredMs,
    blackHole: false,
    lossPoint: state === 'unreachable' && kind !== 'host-host/http' ? NEVER_CAME : undefined,
  } as unknown as PathReport;
}

const faults = (...reports: readonly PathReport[]): string[] =>
  notesOf(reports).map(({ fault, kind }) => `${fault} ${PROBE_KINDS[kind]?.name}`);

describe('a path whose probes leave and never come to the peer', () => {
  it('is that of a network that drops what is sent to it, where nothing else had an answer since', () => {
    const icmp = report('host-host/icmp', 'unreachable', DIED_MS - 500);
    assert.deepEqual(faults(icmp, report('host-host/http', 'unreachable', DIED_MS - 900)), [
      'nic-drop host-host/icmp',
    ]);
    assert.deepEqual(
      faults(
        icmp,
        report('host-host/echo', 'unreachable', DIED_MS - 500),
        report('host-host/http', 'reachable', DIED_MS - 100),
      ),
      ['nic-drop host-host/icmp', 'nic-drop host-host/echo'],
      'requests are rarer: the last one was answered before',
    );
    assert.deepEqual(
      faults(icmp, report('host-host/echo', 'unknown', 0)),
      ['nic-drop host-host/icmp'],
      'there is nothing else to ask',
    );
  });

  it('is no such fault where other packets to the address are answered since: they are filtered', () => {
    const icmp = report('host-host/icmp', 'unreachable', DIED_MS - 500);
    assert.deepEqual(faults(icmp, report('host-host/http', 'reachable', DIED_MS + 100)), []);
    const echo = report('host-host/echo', 'unreachable', DIED_MS - 500);
    const http = report('host-host/http', 'unreachable', DIED_MS - 500);
    assert.deepEqual(faults(echo, http, report('host-host/icmp', 'reachable', DIED_MS + 100)), []);
  });

  it('is none yet while only packets of one kind are known to be lost, and others were answered before', () => {
    const icmp = report('host-host/icmp', 'unreachable', DIED_MS - 500);
    const inside = report('endpoint-host/icmp', 'unreachable', DIED_MS - 500);
    const http = report('host-host/http', 'reachable', DIED_MS - 100);
    assert.deepEqual(faults(icmp, inside, http), []);
    assert.deepEqual(faults(icmp, inside, http, report('host-host/echo', 'reachable', DIED_MS - 100)), []);
  });

  it('is none yet while echoes of other kinds, which are asked for at once, are not known to be lost', () => {
    const icmp = report('host-host/icmp', 'unreachable', DIED_MS - 500);
    const http = report('host-host/http', 'unreachable', DIED_MS - 500);
    assert.deepEqual(faults(icmp, http), ['nic-drop host-host/icmp']);
    assert.deepEqual(faults(icmp, http, report('host-host/echo', 'reachable', DIED_MS - 100)), []);
  });

  it('is the fault of an address whatever answers at another one', () => {
    const icmp = report('host-host/icmp', 'unreachable', DIED_MS - 500);
    const other = report('host-endpoint/icmp', 'reachable', DIED_MS + 100);
    const elsewhere = { ...other, path: { ...other.path, address: '10.1.0.2' } };
    assert.deepEqual(faults(icmp, elsewhere), ['nic-drop host-host/icmp']);
  });
});
