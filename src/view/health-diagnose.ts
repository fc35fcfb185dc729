import type { HealthDiagnosis, HealthVerdict } from '../api/schema.ts';
import { lossPointText, type TextOptions } from './health-path.ts';
import { counted, firstOf, shortSpan, sinceText, sureText } from './health-words.ts';
import { narrowText } from './narrow.ts';
import { printableField } from './printable.ts';

const HEADS: Readonly<Record<HealthDiagnosis['state'], string>> = {
  healthy: 'The cluster is healthy.',
  degraded: 'The cluster is degraded.',
  broken: 'The cluster is broken.',
  unknown: 'The health of the cluster is not known.',
};
const SILENT_SHOWN = 5;

function evidenceText({ evidence, confidence }: HealthVerdict): string {
  const { observers, sent, lost, against } = evidence;
  const contrary = against === 0 ? '' : `, ${against} against it`;
  return `${sureText(confidence)}: ${counted(observers, 'observer')}, ${lost} of ${counted(sent, 'probe')} lost${contrary}`;
}

function verdictLines(verdict: HealthVerdict, number: string, nowMs: number): string {
  const point = verdict['loss-point'];
  const details = verdict.details ?? [];
  const facts: readonly (readonly [string, string | undefined])[] = [
    ['since', sinceText(verdict.since, nowMs)],
    ['sure', evidenceText(verdict)],
    ['lost', point === undefined || details.length > 0 ? undefined : lossPointText(point)],
    ...details.map((text, i) => [i === 0 ? 'known' : '', text] as const),
    ...(verdict.next ?? []).map((text, i) => [i === 0 ? 'next' : '', text] as const),
  ];
  const lines = facts.flatMap(([name, text]) =>
    text === undefined ? [] : `   ${`${name}${name === '' ? ' ' : ':'}`.padEnd(10)}${printableField(text)}\n`,
  );
  return `${number}${printableField(verdict.what)}\n${lines.join('')}`;
}

function silentLine({ silent }: HealthDiagnosis): string {
  const names = (silent ?? []).map(({ node, 'age-ms': ageMs }) => {
    return `${printableField(node)} (${ageMs === undefined ? 'never' : `${shortSpan(ageMs)} ago`})`;
  });
  return names.length === 0 ? '' : `Not heard from: ${firstOf(names, SILENT_SHOWN)}\n`;
}

/** `health diagnose`: the gravest verdict first, then the others, each with since when, how sure, and what to look at. */
export function diagnoseText(diagnosis: HealthDiagnosis, { nowMs, width }: TextOptions): string {
  const verdicts = diagnosis.verdicts ?? [];
  const many = verdicts.length > 1;
  const head = `${HEADS[diagnosis.state]}${many ? ` ${verdicts.length} faults, the gravest first:` : ''}\n`;
  const texts = verdicts.map((verdict, i) => verdictLines(verdict, many ? `${i + 1}. ` : '-> ', nowMs));
  const silent = silentLine(diagnosis);
  const gap = verdicts.length > 0 && silent !== '' ? '\n' : '';
  return narrowText([head, ...texts].join('\n') + gap + silent, width);
}
