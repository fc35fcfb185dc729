import type { HealthDiagnosis, HealthVerdict } from '../../src/api/schema/health-cluster.ts';
import type {
  HealthLossPoint,
  HealthPair,
  HealthPathChange,
  HealthPathReport,
} from '../../src/api/schema/health-paths.ts';

/** The health API's answers that the page reads; texts in them come from anybody. */
export type LossPointAnswer = HealthLossPoint;
export type VerdictAnswer = HealthVerdict;
export type DiagnosisAnswer = HealthDiagnosis;
export type PathAnswer = HealthPathReport;
export type PairAnswer = HealthPair;
export type ChangeAnswer = HealthPathChange;

export interface ChangesAnswer {
  readonly changes: readonly ChangeAnswer[];
  readonly 'left-out'?: number;
}

export interface SeriesAnswer {
  readonly 'step-ms': number;
  readonly 'end-ms': number;
  readonly paths: readonly {
    readonly kind: string;
    readonly address: string;
    /** ns; null: no answer. */
    readonly 'p50-ns': readonly (number | null)[];
    readonly 'p99-ns': readonly (number | null)[];
    /** 0..1; null: nothing was sent. */
    readonly loss: readonly (number | null)[];
  }[];
}

/** Asks the health agent. @throws Error with its words when it refuses */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  const answer = await fetch(`v1beta/${path}`, {
    cache: 'no-store',
    ...(signal === undefined ? {} : { signal }),
  });
  const value: unknown = await answer.json();
  if (!answer.ok) throw new Error(typeof value === 'string' ? value : `refused: ${answer.status}`);
  return value as T;
}

/** Where a probe was seen last, in words. */
export function lossPointText(point: LossPointAnswer | undefined): string {
  if (point === undefined) return '';
  const what = point.leg === 'answer' ? 'the answer' : 'the request';
  const reason = point.reason === undefined ? '' : `: ${point.reason}`;
  return point.hook === 'socket'
    ? `never sent by ${point.node}${reason}`
    : `${what} was last seen at ${point.hook} of ${point.node}${reason}`;
}
