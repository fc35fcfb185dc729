import type { PingLine, PingReport } from '../../probes/icmp/index.ts';
import type { ProbeCounters } from '../../probes/types.ts';
import { formatDuration } from '../../src/view/duration.ts';

/** A host that has no address. */
export interface UnresolvedHost {
  readonly host: string;
  readonly reason: string;
}

function named(target: PingReport['target']): string {
  return target.host === target.address ? target.host : `${target.host} (${target.address})`;
}

function percentLost({ sent, received }: PingReport): number {
  return sent === 0 ? 0 : Math.round(((sent - received) * 1000) / sent) / 10;
}

/** `10.0.0.2 : [0], 64 bytes, 26.51µs`. */
export function pingLineText(line: PingLine): string {
  const head = `${named(line.target)} : [${line.index}], `;
  if (line.event === 'failure') return `${head}${line.text}\n`;
  const latency = line.latencyNs === undefined ? 'time unknown' : formatDuration(Math.round(line.latencyNs));
  return `${head}${line.bytes} bytes, ${latency}${line.text === '' ? '' : ` (${line.text})`}\n`;
}

/** One line a host, in the manner of fping, with percentiles. */
export function pingSummaryText(
  reports: readonly PingReport[],
  unresolved: readonly UnresolvedHost[],
): string {
  const width = Math.max(0, ...reports.map(({ target }) => named(target).length));
  const lines = reports.map((report) => {
    const counts = `sent/received/loss = ${report.sent}/${report.received}/${percentLost(report)}%`;
    const extra = report.latency === undefined ? failureText(report) : latencyText(report.latency);
    return `${named(report.target).padEnd(width)} : ${counts}${extra}`;
  });
  return [...lines, ...unresolved.map(({ host, reason }) => `${host} : ${reason}`)]
    .map((line) => `${line}\n`)
    .join('');
}

function failureText({ lastFailure }: PingReport): string {
  return lastFailure === undefined ? '' : `, last: ${lastFailure}`;
}

function latencyText(latency: NonNullable<PingReport['latency']>): string {
  const { minNs, avgNs, p50Ns, p99Ns, maxNs } = latency;
  const values = [minNs, avgNs, p50Ns, p99Ns, maxNs].map((ns) => formatDuration(Math.round(ns)));
  return `, min/avg/p50/p99/max = ${values.join('/')}`;
}

/** What a reader of the figures must know about them; empty when there is nothing. */
export function pingNotes(counters: ProbeCounters): string {
  const notes: readonly (readonly [number, string])[] = [
    [counters.late, 'came after their timeout'],
    [counters.duplicate, 'were duplicates'],
    [counters.reordered, 'overtook each other'],
    [counters.foreign, 'answered no probe of ours, or came from another address'],
    [counters.corrupt, 'were damaged'],
    [counters.ownDrops, 'were dropped here because the receive buffer was full: not a fault of the path'],
    [counters.unstamped, 'have no kernel transmit stamp: their times include our own delay'],
    [counters.clockSteps, 'time(s) the wall clock was stepped; what was under way has no latency'],
  ];
  const told = notes.filter(([count]) => count > 0).map(([count, text]) => `${count} ${text}`);
  return told.length === 0 ? '' : `replies: ${told.join('; ')}\n`;
}

export interface PingJsonInput {
  readonly modes: Readonly<Record<string, string>>;
  readonly reports: readonly PingReport[];
  readonly unresolved: readonly UnresolvedHost[];
  readonly counters: ProbeCounters;
}

export function pingJson({ modes, reports, unresolved, counters }: PingJsonInput): unknown {
  return {
    modes,
    hosts: [
      ...reports.map((report) => ({
        host: report.target.host,
        address: report.target.address,
        sent: report.sent,
        received: report.received,
        loss_percent: percentLost(report),
        late: report.late,
        duplicate: report.duplicate,
        latency_ns: report.latency === undefined ? null : latencyJson(report.latency),
        last_failure: report.lastFailure ?? null,
      })),
      ...unresolved.map(({ host, reason }) => ({ host, address: null, last_failure: reason })),
    ],
    counters,
  };
}

function latencyJson(latency: NonNullable<PingReport['latency']>): Readonly<Record<string, number>> {
  const { minNs, avgNs, p50Ns, p99Ns, maxNs } = latency;
  return { min: minNs, avg: avgNs, p50: p50Ns, p99: p99Ns, max: maxNs };
}
