import type { HealthLossPoint, HealthPair, HealthPathReport } from '../api/schema.ts';
import { counted, shortPercent, shortSpan, sinceText, timeText } from './health-words.ts';
import { narrowText, tableOrRows } from './narrow.ts';
import { printableField } from './printable.ts';
import { row } from './tabwriter.ts';

/** `host-host by icmp, IPv4`. */
export function pathTitle(path: Pick<HealthPathReport, 'path-class' | 'responder' | 'family'>): string {
  return `${path['path-class']} ${path.responder} IPv${path.family}`;
}

/** `lost on its way there, seen last on n1 at to_netdev: Policy denied`. */
export function lossPointText({ node, hook, leg, reason }: HealthLossPoint): string {
  const way = leg === 'request' ? 'the request was seen last' : 'the answer was seen last';
  const where = hook === 'socket' ? `on ${node}, where it was never sent` : `on ${node} at ${hook}`;
  return printableField(`${way} ${where}${reason === undefined ? '' : `: ${reason}`}`);
}

function lossText({ window }: HealthPathReport): string {
  const { sent, answered } = window;
  return sent === 0 ? '' : `${shortPercent((sent - answered) / sent)} % of ${sent}`;
}

/** A canary is well when it is silent. */
export function stateText({ state, expects }: Pick<HealthPathReport, 'state' | 'expects'>): string {
  if (expects === 'answer') return state;
  if (state === 'reachable') return 'denied, as it must be';
  return state === 'unreachable' ? 'OPEN' : state;
}

function pathRow(path: HealthPathReport): string {
  const rtt = path.window['rtt-ns'];
  const times =
    rtt === undefined || path.expects === 'silence'
      ? ''
      : [rtt.min, rtt.p50, rtt.p99].map(timeText).join(' ');
  const loss = path.expects === 'silence' ? '' : lossText(path);
  return row([pathTitle(path), path.address, stateText(path), times, loss]);
}

/** `connect 51µs, first byte 120µs, total 130µs`, the network's part first. */
function phasesText(phases: Readonly<Record<string, number>>): string {
  const names = Object.keys(phases).sort((a, b) => (phases[a] ?? 0) - (phases[b] ?? 0));
  const ordered = [
    ...names.filter((name) => name === 'network'),
    ...names.filter((name) => name !== 'network'),
  ];
  return ordered
    .map(
      (name) =>
        `${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${timeText(phases[name] ?? 0)}`,
    )
    .join(', ');
}

/** How the time of a probe divides, as far as it is told. */
function splitText(path: HealthPathReport): string | undefined {
  const { 'rtt-ns': rtt, 'residence-ns': residence } = path.window;
  const phases = path['phases-ns'];
  if (phases !== undefined && Object.keys(phases).length > 0)
    return `parts of the last: ${phasesText(phases)}`;
  if (rtt === undefined || residence === undefined) return undefined;
  return `network ${timeText(Math.max(0, rtt.p50 - residence))}, held by the peer ${timeText(residence)}`;
}

function oddText({ window }: HealthPathReport): string | undefined {
  const odd = (['late', 'duplicate', 'reordered'] as const).filter((name) => window[name] > 0);
  return odd.length === 0 ? undefined : `answers: ${odd.map((name) => `${window[name]} ${name}`).join(', ')}`;
}

function mtuText(path: HealthPathReport): string | undefined {
  if (path['black-hole']) return 'black hole: large packets vanish, and nobody says that they are too big';
  return path['path-mtu'] === undefined ? undefined : `MTU ${path['path-mtu']}`;
}

/** What is known of a path besides its line. */
function details(path: HealthPathReport, nowMs: number): string {
  const well = path.state === 'reachable';
  const point = path['loss-point'];
  const lines = [
    well
      ? undefined
      : `since ${sinceText(path.since, nowMs)}${path.reason === undefined ? '' : `: ${path.reason}`}`,
    point === undefined ? undefined : lossPointText(point),
    splitText(path),
    oddText(path),
    mtuText(path),
  ];
  return lines.flatMap((line) => (line === undefined ? [] : `    ${printableField(line)}\n`)).join('');
}

function tally(paths: readonly HealthPathReport[]): string {
  const well = paths.filter(({ state }) => state === 'reachable').length;
  return well === paths.length
    ? `all ${paths.length} paths are well`
    : `${well} of ${counted(paths.length, 'path')} well`;
}

function cellText({ cell }: HealthPair): string {
  if (cell === undefined) return '';
  const rtt = cell['rtt-ns'] === undefined ? '' : `, round trip ${timeText(cell['rtt-ns'])}`;
  const age = cell['age-ms'] === undefined ? '' : `, told ${shortSpan(cell['age-ms'])} ago`;
  return `  ${cell.state}${rtt}, ${cell.lost} of ${counted(cell.sent, 'probe')} lost${age}\n`;
}

/** Who told it, or why it is not known. */
function sourceLine(pair: HealthPair): string {
  const { from, to, source, reason, paths } = pair;
  const way = `${from} -> ${to}`;
  const known = paths ?? [];
  if (source === 'row')
    return `${way}: ${from} cannot be asked (${reason ?? 'no reason'}); its last row says:\n${cellText(pair)}`;
  if (source === 'none')
    return `${way}: not known: ${from} cannot be asked (${reason ?? 'no reason'}), and no row of it tells of ${to}\n`;
  const teller = source === 'self' ? 'measured here' : `told by ${from}`;
  if (known.length === 0) return `${way}: ${from} probes no path to ${to} (${teller})\n`;
  return `${way}: ${tally(known)} (${teller})\n`;
}

export interface TextOptions {
  /** Realtime. */
  readonly nowMs: number;
  /** Columns of the terminal. */
  readonly width?: number | undefined;
}

/** `health path`: every path from one node to another, with where its time goes and where its probes are lost. */
export function pathText(pair: HealthPair, { nowMs, width }: TextOptions): string {
  const paths = pair.paths ?? [];
  if (paths.length === 0) return narrowText(sourceLine(pair), width);
  const head = row(['PATH', 'ADDRESS', 'STATE', 'RTT MIN P50 P99', 'LOSS']);
  const table = tableOrRows(head + paths.map(pathRow).join(''), width).split('\n');
  const lines = paths.map((path, i) => `${table[i + 1]}\n${details(path, nowMs)}`);
  return narrowText(`${sourceLine(pair)}\n${table[0]}\n${lines.join('')}`, width);
}

/** Whether every path is known to be well. */
export function allWell(pair: HealthPair): boolean {
  const paths = pair.paths ?? [];
  return (
    paths.length > 0 &&
    paths.every(({ state, 'black-hole': blackHole }) => state === 'reachable' && !blackHole)
  );
}
