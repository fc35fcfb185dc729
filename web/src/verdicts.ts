import { type DiagnosisAnswer, lossPointText, type VerdictAnswer } from './answers.ts';
import { button, byId, html, setText } from './dom.ts';
import { countText, lossText, spanText } from './format.ts';

const STATE_WORDS: Readonly<Record<DiagnosisAnswer['state'], string>> = {
  healthy: 'Healthy: nothing is wrong',
  degraded: 'Degraded',
  broken: 'Broken',
  unknown: 'Unknown: not enough is known to say',
};
/** Shown; more are counted. */
const VERDICTS_MAX = 12;

/** Names of nodes between which the verdict's place lies; undefined where it is no pair. */
function pairOf({ place }: VerdictAnswer): readonly [string, string] | undefined {
  return place.kind === 'pair' && place.from !== undefined && place.to !== undefined
    ? [place.from, place.to]
    : undefined;
}

function listOf(title: string, texts: readonly string[]): HTMLElement | undefined {
  if (texts.length === 0) return undefined;
  const items = texts.map((text) => html('li', {}, text));
  return html('div', {}, html('p', { class: 'muted' }, title), html('ul', { class: 'steps' }, ...items));
}

function verdictItem(verdict: VerdictAnswer, open: (from: string, to: string) => void): HTMLLIElement {
  const { what, details, next, confidence, evidence, since } = verdict;
  const lossPoint = lossPointText(verdict['loss-point']);
  const pair = pairOf(verdict);
  const facts = [
    `${Math.round(confidence * 100)} % sure`,
    `for ${spanText(Date.now() - Date.parse(since))}`,
    `seen by ${countText(evidence.observers, 'node')}`,
    `${evidence.lost} of ${evidence.sent} probes lost (${lossText(evidence.sent, evidence.lost)})`,
    ...(evidence.against > 0 ? [`${evidence.against} not explained`] : []),
  ];
  return html(
    'li',
    {},
    html('p', { class: 'verdict' }, what),
    html('p', { class: 'muted' }, facts.join(' · ')),
    lossPoint === '' ? undefined : html('p', {}, `Where: ${lossPoint}`),
    listOf('Details', details ?? []),
    listOf('Next', next ?? []),
    pair === undefined ? undefined : button('Look at this pair', () => open(...pair), { class: 'small' }),
  );
}

/** Shows the diagnosis; without one it says so. */
export function showDiagnosis(
  answer: DiagnosisAnswer | undefined,
  open: (from: string, to: string) => void,
): void {
  const badge = byId('verdict-state', HTMLParagraphElement);
  const list = byId('verdicts', HTMLOListElement);
  const silent = byId('silent', HTMLParagraphElement);
  badge.dataset.state = answer?.state ?? 'unknown';
  setText(
    badge,
    answer === undefined
      ? 'No verdict: nothing judges the matrix at this node'
      : (STATE_WORDS[answer.state] ?? answer.state),
  );
  const verdicts = answer?.verdicts ?? [];
  const items = verdicts.slice(0, VERDICTS_MAX).map((verdict) => verdictItem(verdict, open));
  const left = verdicts.length - items.length;
  if (left > 0) items.push(html('li', {}, `and ${countText(left, 'more verdict')}`));
  list.replaceChildren(...items);
  const quiet = answer?.silent ?? [];
  const names = quiet
    .slice(0, 8)
    .map(({ node, 'age-ms': ageMs }) => `${node} (${ageMs === undefined ? 'never' : spanText(ageMs)})`);
  const more = quiet.length > names.length ? ` and ${quiet.length - names.length} more` : '';
  setText(
    silent,
    quiet.length === 0 ? '' : `No row from ${countText(quiet.length, 'node')}: ${names.join(', ')}${more}`,
  );
  silent.hidden = quiet.length === 0;
}
