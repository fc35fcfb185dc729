import {
  ctStateText,
  dropReasonText,
  observationPointText,
  policyMatchText,
} from '../model/constants.gen.ts';
import type { DropEvent, LostEvent, MonitorEvent, PolicyVerdictEvent, TraceEvent } from '../model/event.ts';
import { type NumericIdentity, reservedIdentityName } from '../model/identity.ts';
import { accessLogText } from './access-log.ts';
import { toJsonLine } from './json.ts';
import { packetLayersText } from './packet-layers.ts';
import { printableField } from './printable.ts';
import type { Compat } from './types.ts';

export interface MonitorOptions {
  readonly compat?: Compat;
  /** More about each packet, below a rule of dashes: counters, marks and the headers that were captured. */
  readonly verbose?: boolean;
  /** The captured head of each packet in hexadecimal. */
  readonly hex?: boolean;
  /** Labels of an identity; undefined where they are not known. */
  readonly labelsOf?: ((identity: NumericIdentity) => readonly string[] | undefined) | undefined;
  /** Name of a rule by its number; undefined where it is not known. */
  readonly ruleName?: ((ruleId: number) => string | undefined) | undefined;
  /** Name of an interface; undefined where it is not known here, and then its number is shown. */
  readonly ifname?: ((ifindex: number) => string | undefined) | undefined;
}

type PacketKind = DropEvent | TraceEvent | PolicyVerdictEvent;

const RULE = '-'.repeat(78);

function hexNumber(value: number): string {
  return `0x${value.toString(16)}`;
}

function identityText(id: NumericIdentity): string {
  return reservedIdentityName(id) ?? String(id);
}

function flowIdentities(event: PacketKind): string {
  return `identity ${identityText(event.srcIdentity)}->${identityText(event.dstIdentity)}`;
}

function interfaceText(event: PacketKind, options: MonitorOptions): string {
  return options.ifname?.(event.ifindex) ?? String(event.ifindex);
}

function dropText(event: DropEvent): string {
  return dropReasonText[event.reason] ?? `reason ${event.reason}`;
}

/** Source of the drop in the program, as a Cilium agent reports it. */
export interface ProgramPlace {
  readonly file?: string;
  readonly line?: number;
}

function dropLine(event: DropEvent & ProgramPlace, options: MonitorOptions): string {
  const head = `flow ${hexNumber(event.hash)} to endpoint ${event.dstEndpoint}, `;
  if (options.compat === '2018') {
    // Then the reason said which part of the policy had denied; only the L3 code is left.
    const reason = event.reason === 133 ? 'Policy denied (L3)' : dropText(event);
    return `xx drop (${reason}) ${head}${flowIdentities(event)}: ${event.summary}`;
  }
  const where = `ifindex ${event.ifindex}, `;
  const place = event.file === undefined ? '' : `file ${event.file}:${event.line ?? 0}, `;
  const comma = options.compat === '1.19' ? ', ' : '';
  return `xx drop (${dropText(event)}) ${head}${where}${place}${comma}${flowIdentities(event)}: ${event.summary}`;
}

/** Observation point -> what a trace line names. */
const POINT: Readonly<Record<number, string>> = {
  1: '-> proxy',
  2: '-> host',
  3: '-> stack',
  4: '-> overlay',
  6: '<- proxy',
  7: '<- host',
  8: '<- stack',
  9: '<- overlay',
  10: '<- network',
  11: '-> network',
  12: '<- crypto-stack',
  13: '-> crypto-stack',
};

function pointText(event: TraceEvent): string {
  if (event.observationPoint === 0) return `-> endpoint ${event.dstEndpoint}`;
  if (event.observationPoint === 5) return `<- endpoint ${event.source}`;
  return POINT[event.observationPoint] ?? `observation point ${event.observationPoint}`;
}

/** Address before NAT, as a Cilium agent reports it. */
export interface OriginalAddress {
  readonly originalIp?: string;
}

function traceLine(event: TraceEvent & OriginalAddress, options: MonitorOptions): string {
  const flow = `flow ${hexNumber(event.hash)}`;
  const comma = options.compat === '1.19' ? ' , ' : options.compat === '2018' ? ' ' : ', ';
  const state = `state ${ctStateText[event.state] ?? event.state} ifindex ${interfaceText(event, options)}`;
  const origin = options.compat === '1.19' ? ` orig-ip ${event.originalIp ?? '0.0.0.0'}` : '';
  return `${pointText(event)} ${flow}${comma}${flowIdentities(event)} ${state}${origin}: ${event.summary}`;
}

function actionText({ verdict, audited }: Pick<PolicyVerdictEvent, 'verdict' | 'audited'>): string {
  if (audited === true) return 'audit';
  if (verdict < 0) return 'deny';
  return verdict === 0 ? 'allow' : 'redirect';
}

/** The rule that decided; none where nothing allowed it, and in recorded layouts. */
function ruleText({ ruleId }: PolicyVerdictEvent, options: MonitorOptions): string {
  if (options.compat !== undefined || ruleId === 0) return '';
  const name = options.ruleName?.(ruleId);
  return name === undefined ? `rule #${ruleId}, ` : `rule #${ruleId} ${printableField(name)}, `;
}

function verdictLine(event: PolicyVerdictEvent, options: MonitorOptions): string {
  const auth = options.compat === undefined ? '' : 'auth: disabled, ';
  const proxy = options.compat === undefined && event.verdict > 0 ? ` to proxy port ${event.verdict}` : '';
  const local = `local EP ID ${event.source}, remote ID ${identityText(event.remoteIdentity)}`;
  const what = `proto ${event.protocol}, ${event.direction}, action ${actionText(event)}${proxy}`;
  const match = `match ${policyMatchText[event.match] ?? event.match}`;
  return `Policy verdict log: flow ${hexNumber(event.hash)} ${local}, ${what}, ${auth}${match}, ${ruleText(event, options)}${event.summary}`;
}

const LOST_WHERE: Readonly<Record<LostEvent['source'], string>> = {
  ring: 'the ring buffer was full',
  listener: 'this listener was too slow',
  proxy: 'the agent was too slow for its proxy',
};

function detail(event: PacketKind, options: MonitorOptions): string {
  const cpu = String(event.cpu).padStart(2, '0');
  const what =
    event.kind === 'drop'
      ? `DROP: ${event.lengthBytes} bytes, reason ${dropText(event)}, ${event.direction}`
      : event.kind === 'trace'
        ? `${observationPointText[event.observationPoint] ?? 'trace'}: ${event.lengthBytes} bytes, state ${ctStateText[event.state] ?? event.state}`
        : `POLICY VERDICT: ${actionText(event)}, rule ${event.ruleId}`;
  const where = `interface ${interfaceText(event, options)}, ${flowIdentities(event)}, to endpoint ${event.dstEndpoint}`;
  const head = `CPU ${cpu}: MARK ${hexNumber(event.hash)} FROM ${event.source} ${what}, ${where}`;
  const layers = packetLayersText(Buffer.from(event.capture, 'hex'));
  return `${RULE}\n${head}\nmonotonic ${event.monotonicNs} ns\n${layers}`;
}

/** Sixteen bytes a line, with their offset. */
function hexDump(capture: string): string {
  const lines = capture.match(/.{1,32}/g) ?? [];
  const spaced = (line: string): string => line.replace(/(..)(?!$)/g, '$1 ');
  return lines.map((line, i) => `  ${(i * 16).toString(16).padStart(4, '0')}  ${spaced(line)}\n`).join('');
}

function packetLine(event: PacketKind, options: MonitorOptions): string {
  switch (event.kind) {
    case 'drop':
      return dropLine(event, options);
    case 'trace':
      return traceLine(event, options);
    case 'policy-verdict':
      return verdictLine(event, options);
  }
}

/** One event as `monitor` prints it, newline included. */
export function monitorText(event: MonitorEvent, options: MonitorOptions = {}): string {
  if (event.kind === 'agent') return `>> ${event.subtype}: ${toJsonLine(event.message)}\n`;
  if (event.kind === 'lost') {
    return options.compat === undefined
      ? `Lost ${event.count} events: ${LOST_WHERE[event.source]}\n`
      : `CPU 00: Lost ${event.count} events\n`;
  }
  if (event.kind === 'l7') return `${accessLogText(event, options)}\n`;
  const more = options.verbose === true ? detail(event, options) : '';
  return `${more}${packetLine(event, options)}\n${options.hex === true ? hexDump(event.capture) : ''}`;
}

/** One event as one line of JSON, with the texts of its numbers: every kind, so that the stream is valid NDJSON. */
export function monitorJson(event: MonitorEvent): string {
  const { kind, ...rest } = event;
  const texts =
    event.kind === 'drop'
      ? { reasonText: dropText(event) }
      : event.kind === 'trace'
        ? {
            observationPointText: observationPointText[event.observationPoint],
            stateText: ctStateText[event.state],
          }
        : event.kind === 'policy-verdict'
          ? { action: actionText(event), matchText: policyMatchText[event.match] }
          : {};
  return `${toJsonLine({ type: kind, ...rest, ...texts })}\n`;
}

/** Kinds that `-t` takes. */
export const MONITOR_TYPES = ['agent', 'drop', 'l7', 'lost', 'policy-verdict', 'trace'] as const;
export type MonitorType = (typeof MONITOR_TYPES)[number];

export interface MonitorFilter {
  /** Empty: every type. Lost events are always shown: a stream with holes must say so. */
  readonly types: readonly MonitorType[];
  /** Endpoint ids; empty: every endpoint. */
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly relatedTo: readonly number[];
}

/** Whether an event passes the filter; one with endpoints in it shows only events of packets. */
export function monitorMatches(event: MonitorEvent, filter: MonitorFilter): boolean {
  if (event.kind === 'lost') return true;
  if (filter.types.length > 0 && !filter.types.includes(event.kind)) return false;
  const { from, to, relatedTo } = filter;
  if (from.length + to.length + relatedTo.length === 0) return true;
  if (event.kind === 'agent') return false;
  const [source, destination] =
    event.kind === 'l7'
      ? [event.source.endpoint, event.destination.endpoint]
      : [event.source, event.dstEndpoint];
  return (
    from.includes(source) ||
    to.includes(destination) ||
    relatedTo.includes(source) ||
    relatedTo.includes(destination)
  );
}
