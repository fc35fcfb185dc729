import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MonitorEvent } from '../../src/model/event.ts';
import {
  type MonitorFilter,
  monitorJson,
  monitorMatches,
  monitorText,
  type OriginalAddress,
  type ProgramPlace,
} from '../../src/view/monitor.ts';
import { packet as framed, TcpFlag, tcp } from '../support/packets.ts';
import { golden } from './golden.ts';

const packet = {
  monotonicNs: '18446744073709551615',
  cpu: 1,
  source: 7415,
  hash: 0xa9263786,
  srcIdentity: 36797,
  dstIdentity: 9270,
  dstEndpoint: 7415,
  ifindex: 1,
  lengthBytes: 54,
  summary: '10.15.58.61:40442 -> 10.15.16.224:80 tcp SYN',
  capture: '0a58010000020a58010000010800',
} as const;

const drop: MonitorEvent & ProgramPlace = {
  ...packet,
  kind: 'drop',
  reason: 133,
  direction: 'ingress',
  file: 'bpf_lxc.c',
  line: 1234,
};
const ack = '10.15.58.61:40442 -> 10.15.16.224:80 tcp SYN, ACK';
const flow = { ...packet, hash: 0xd3f88100, source: 17917, srcIdentity: 60941, summary: ack } as const;
const judged = { protocol: 6, destinationPort: 80 } as const;
const toEndpoint: MonitorEvent & OriginalAddress = {
  ...flow,
  kind: 'trace',
  observationPoint: 0,
  state: 0,
  ...judged,
};
const fromEndpoint: MonitorEvent = { ...flow, kind: 'trace', observationPoint: 5, state: 2, ...judged };
const allow: MonitorEvent = {
  ...packet,
  kind: 'policy-verdict',
  hash: 0x1234,
  direction: 'ingress',
  remoteIdentity: 60941,
  verdict: 0,
  match: 2,
  protocol: 6,
  destinationPort: 80,
  ruleId: 3,
};
const deny: MonitorEvent = { ...allow, verdict: -133 };
const updated: MonitorEvent = {
  kind: 'agent',
  subtype: 'Policy updated',
  message: { labels: ['k8s:io.cilium.k8s.policy.name=rule1'], revision: 65, rule_count: 1 },
};
const started: MonitorEvent = {
  kind: 'agent',
  subtype: 'Cilium agent started',
  message: { time: '2026-01-01T00:00:00Z' },
};
const lost: MonitorEvent = { kind: 'lost', source: 'ring', count: 12 };
const all = [drop, toEndpoint, fromEndpoint, allow, deny, updated, started, lost];

const ifname = (ifindex: number): string | undefined => (ifindex === 1 ? 'lo' : undefined);
const everything: MonitorFilter = { types: [], from: [], to: [], relatedTo: [] };

/** Recorded lines without what we have no event for (captures, debug), and without the CPU of lost events. */
function recorded(name: string): string {
  const lines = golden(name)
    .split('\n')
    .filter((line) => !line.startsWith('-> lo:'))
    .map((line) => line.replace(/^CPU \d+: Lost/, 'CPU 00: Lost'));
  return lines.join('\n');
}

function printed(events: readonly MonitorEvent[], filter: MonitorFilter = everything): string {
  return events
    .filter((event) => monitorMatches(event, filter))
    .map((event) => monitorText(event, { compat: '1.19', ifname }))
    .join('');
}

describe('monitor beside the recorded outputs', () => {
  const stream = [...all, drop];
  it('prints v1.19.4/monitor.txt to the byte', () => {
    assert.equal(printed(stream), recorded('v1.19.4/monitor.txt'));
  });
  it('prints v1.19.4/monitor-t_drop.txt to the byte', () => {
    assert.equal(printed(stream, { ...everything, types: ['drop'] }), recorded('v1.19.4/monitor-t_drop.txt'));
  });
  it('prints v1.19.4/monitor--related-to_7415.txt to the byte', () => {
    const filter = { ...everything, relatedTo: [7415] };
    assert.equal(printed(stream, filter), recorded('v1.19.4/monitor--related-to_7415.txt'));
  });
  it('prints the drop, the traces and the update of v2018/monitor.txt to the byte', () => {
    const change = { source: 61355, hash: 0xa9263786, srcIdentity: 36797 } as const;
    const syn = '10.15.56.79:40442 -> 10.15.16.224:80 tcp SYN';
    const events: MonitorEvent[] = [
      { ...drop, ...change, summary: syn },
      { ...flow, ...change, kind: 'trace', observationPoint: 0, state: 0, ...judged, summary: syn },
      { ...flow, ...change, kind: 'trace', observationPoint: 5, state: 0, ...judged, summary: `${syn}, ACK` },
      updated,
    ];
    const banner = 'Listening for events on 2 CPUs with 64x4096 of shared memory\nPress Ctrl-C to quit\n';
    const text = events.map((event) => monitorText(event, { compat: '2018', ifname })).join('');
    assert.equal(banner + text, golden('v2018/monitor.txt'));
  });
});

describe('monitor in our own layout', () => {
  it('has no doubled comma, no blank before one, and no field that it does not know', () => {
    const { file: _file, line: _line, ...plain } = drop as MonitorEvent & ProgramPlace;
    assert.equal(
      monitorText(plain as MonitorEvent),
      'xx drop (Policy denied) flow 0xa9263786 to endpoint 7415, ifindex 1, identity 36797->9270: 10.15.58.61:40442 -> 10.15.16.224:80 tcp SYN\n',
    );
    assert.doesNotMatch(all.map((event) => monitorText(event)).join(''), / ,|, ,/);
  });

  it('names reserved identities and the reason of a loss', () => {
    const world: MonitorEvent = {
      ...flow,
      kind: 'trace',
      observationPoint: 11,
      state: 0,
      ...judged,
      dstIdentity: 2,
    };
    assert.match(monitorText(world), /^-> network flow 0xd3f88100, identity 60941->world state new /);
    assert.equal(monitorText(lost), 'Lost 12 events: the ring buffer was full\n');
  });

  it('shows the captured head with --hex', () => {
    assert.match(
      monitorText(drop, { hex: true }),
      /\n {2}0000 {2}0a 58 01 00 00 02 0a 58 01 00 00 01 08 00\n$/,
    );
  });

  it('shows the headers of the captured packet with -v, a header a line', () => {
    const bytes = framed({
      source: '10.0.0.1',
      destination: '10.0.0.2',
      payload: tcp(4321, 80, TcpFlag.syn),
    });
    const text = monitorText({ ...drop, capture: bytes.toString('hex') }, { verbose: true, ifname });
    const lines = text.split('\n');
    assert.match(lines[0] ?? '', /^-+$/);
    assert.match(lines[1] ?? '', /^CPU 01: MARK 0xa9263786 FROM 7415 DROP: 54 bytes/);
    assert.match(lines[3] ?? '', /^ {2}Ethernet {2}(?:[0-9a-f]{2}:){5}[0-9a-f]{2} -> .*, type IPv4$/);
    assert.equal(lines[4], '  IPv4      10.0.0.1 -> 10.0.0.2, protocol TCP, TTL 64, length 40');
    assert.match(
      lines[5] ?? '',
      /^ {2}TCP {7}port 4321 -> 80, SYN, sequence \d+, acknowledges \d+, window \d+$/,
    );
    assert.match(lines[6] ?? '', /^xx drop /);
  });

  it('says with -v how much of a cut packet it could not read', () => {
    assert.match(
      monitorText({ ...drop, capture: '0102030405' }, { verbose: true }),
      /^ {2}Rest {6}5 bytes captured$/m,
    );
  });

  it('prints every kind of event as one line of valid JSON, 64-bit times included', () => {
    for (const event of all) {
      const text = monitorJson(event);
      assert.match(text, /^[^\n]+\n$/);
      assert.equal((JSON.parse(text) as { type: string }).type, event.kind);
    }
    assert.match(monitorJson(drop), /"monotonicNs":"18446744073709551615"/);
    assert.match(monitorJson(drop), /"reasonText":"Policy denied"/);
  });
});

describe('monitorMatches', () => {
  it('always shows that events were lost', () => {
    assert.ok(monitorMatches(lost, { ...everything, types: ['drop'], from: [1] }));
  });
  it('looks at both ends for --related-to, at one for --from and --to', () => {
    assert.ok(monitorMatches(toEndpoint, { ...everything, from: [17917] }));
    assert.ok(!monitorMatches(toEndpoint, { ...everything, to: [17917] }));
    assert.ok(monitorMatches(toEndpoint, { ...everything, relatedTo: [17917] }));
    assert.ok(!monitorMatches(updated, { ...everything, relatedTo: [17917] }));
  });
});
