import type {
  HealthHistory,
  HealthMtu,
  HealthProbeReport,
  HealthProbeResult,
  HealthReadiness,
} from '../api/schema.ts';
import { PROBED_MTU_MAX } from '../model/health.ts';
import { lossPointText, pathTitle, stateText } from './health-path.ts';
import { counted, firstOf, shortPercent, timeText } from './health-words.ts';
import { narrowText, tableWithin } from './narrow.ts';
import { printableField } from './printable.ts';
import { row } from './tabwriter.ts';
import type { ViewOptions } from './types.ts';

function table(head: readonly string[], rows: readonly string[], { noHeaders, width }: ViewOptions): string {
  const text = (noHeaders === true ? '' : row(head)) + rows.join('');
  return tableWithin(text, width);
}

/** `health history`: changes of state, the oldest first. Times are UTC. */
export function historyText(history: HealthHistory, options: ViewOptions = {}): string {
  const changes = history.changes ?? [];
  if (changes.length === 0) return `No path changed its state since ${history.since}.\n`;
  const rows = changes.map((change) => {
    const point = change['loss-point'];
    const why = [change.reason, point === undefined ? undefined : lossPointText(point)];
    return row([
      change.at.replace('T', ' ').replace('Z', ''),
      change.peer,
      pathTitle(change),
      change.address,
      [change.from, change.to].map((state) => stateText({ state, expects: change.expects })).join(' -> '),
      why.filter((text) => text !== undefined).join('; '),
    ]);
  });
  return table(['TIME (UTC)', 'PEER', 'PATH', 'ADDRESS', 'CHANGE', 'WHY'], rows, options);
}

type Mtu = NonNullable<HealthMtu['paths']>[number];

function mtuVerdict(path: Mtu): string {
  if (path['black-hole']) return 'black hole: larger packets vanish, and nobody says that they are too big';
  if (path['path-mtu'] === undefined) return path.state === 'unreachable' ? 'unreachable' : 'not measured';
  return path['path-mtu'] >= PROBED_MTU_MAX
    ? 'ok: no larger packets are tried'
    : 'ok: larger packets are refused';
}

/** `health mtu`: black holes first, then the smallest. */
export function mtuText(mtu: HealthMtu, options: ViewOptions = {}): string {
  const paths = [...(mtu.paths ?? [])].sort((a, b) => {
    const rank = (path: Mtu): number => (path['black-hole'] ? 0 : (path['path-mtu'] ?? 1e6));
    return rank(a) - rank(b) || (a.peer < b.peer ? -1 : a.peer > b.peer ? 1 : 0);
  });
  if (paths.length === 0) return 'No path is probed.\n';
  const rows = paths.map((path) =>
    row([path.peer, pathTitle(path), path.address, path['path-mtu'] ?? '-', mtuVerdict(path)]),
  );
  return table(['PEER', 'PATH', 'ADDRESS', 'MTU', 'VERDICT'], rows, options);
}

/** What the path's own pace sent last may be under way, when all that was asked for is in. */
function lacks({ answered, lost }: HealthProbeResult, count: number): boolean {
  return answered + lost < count;
}

/** Silence of a canary says something only beside an answer from the same address to what the policy allows. */
function canaryText(
  { answered, peer, address }: HealthProbeResult,
  paths: readonly HealthProbeResult[],
): string {
  if (answered > 0) return 'OPEN: a policy denies it';
  const allowed = paths.find(
    (path) => path['path-class'] === 'policy-allowed' && path.peer === peer && path.address === address,
  );
  return allowed !== undefined && allowed.answered > 0
    ? 'denied, as it must be'
    : 'unknown: silent, but so is the path that the policy allows';
}

function probeRow(path: HealthProbeResult, { count, paths }: HealthProbeReport): string {
  const { sent, answered, lost, pending } = path;
  const done = sent - pending;
  const rtt = path['rtt-ns'];
  const silence = path.expects === 'silence';
  const words = [
    silence ? canaryText(path, paths ?? []) : path.reason,
    lacks(path, count) ? `${pending} without an outcome yet` : undefined,
  ];
  return row([
    path.peer,
    pathTitle(path),
    path.address,
    `${answered}/${sent}`,
    done <= 0 || silence ? '' : `${shortPercent(lost / done)} %`,
    rtt === undefined ? '' : [rtt.min, rtt.p50, rtt.max].map(timeText).join(' '),
    words.filter((text) => text !== undefined && text !== '').join('; '),
  ]);
}

/** `health probe`: a line a path, and what is missing. */
export function probeText(report: HealthProbeReport, options: ViewOptions = {}): string {
  const paths = report.paths ?? [];
  const without = (report['without-path'] ?? []).map(printableField);
  const head = ['PEER', 'PATH', 'ADDRESS', 'ANSWERED', 'LOSS', 'RTT MIN P50 MAX', ''];
  if (paths.length === 0 && without.length === 0)
    return 'No other node is in the node list: nothing to probe.\n';
  const lines =
    paths.length === 0
      ? ''
      : table(
          head,
          paths.map((path) => probeRow(path, report)),
          options,
        );
  const missing = without.length === 0 ? '' : `No path is probed to ${firstOf(without, 5)}.\n`;
  const partial = report.complete
    ? ''
    : `Partial: after ${report['took-ms']} ms ${counted(paths.filter((path) => lacks(path, report.count)).length, 'path')} had not all outcomes.\n`;
  return `${lines}${narrowText(missing + partial, options.width)}`;
}

/** Whether every path that should answer did at least once, and no canary did. */
export function allAnswered(report: HealthProbeReport): boolean {
  const paths = report.paths ?? [];
  return (
    paths.length > 0 &&
    (report['without-path'] ?? []).length === 0 &&
    paths.every(({ expects, answered }) => (expects === 'silence' ? answered === 0 : answered > 0))
  );
}

/** `health ready`. */
export function readyText({ node, ready, reasons }: HealthReadiness, { width }: ViewOptions = {}): string {
  const name = printableField(node);
  if (ready) return `${name} is ready\n`;
  const why = (reasons ?? []).map((reason) => `  ${printableField(reason)}\n`).join('');
  return narrowText(`${name} is not ready\n${why}`, width);
}
