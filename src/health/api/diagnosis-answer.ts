import type { HealthDiagnosis as DiagnosisAnswer, HealthVerdict as VerdictAnswer } from '../../api/schema.ts';
import type { HealthDiagnosis, HealthVerdict } from '../../model/health.ts';
import { placeAnswer, timeText } from './answers.ts';

/** What a verdict says to people, and what it tells them to look at. */
export interface VerdictWords {
  readonly what: string;
  readonly details: readonly string[];
  readonly next: readonly string[];
}

function verdictAnswer(verdict: HealthVerdict, words: VerdictWords): VerdictAnswer {
  const { fault, place, kinds, families, lossPoint, sinceMs, confidence, evidence } = verdict;
  return {
    fault,
    place: placeAnswer(place),
    ...words,
    kinds,
    families,
    ...(lossPoint === undefined ? {} : { 'loss-point': lossPoint }),
    since: timeText(sinceMs),
    confidence,
    evidence,
  };
}

export function diagnosisAnswer(
  node: string | undefined,
  { state, verdicts, silent, atMs }: HealthDiagnosis,
  words: (verdict: HealthVerdict) => VerdictWords,
): DiagnosisAnswer {
  return {
    ...(node === undefined ? {} : { node }),
    state,
    at: timeText(atMs),
    verdicts: verdicts.map((verdict) => verdictAnswer(verdict, words(verdict))),
    silent: silent.map(({ node: name, ageMs }) => ({
      node: name,
      ...(ageMs === undefined ? {} : { 'age-ms': Math.round(ageMs) }),
    })),
  };
}
