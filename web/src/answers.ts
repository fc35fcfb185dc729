/** What the page reads of the health API's answers (`src/api/schema/health-*.ts`): texts in them come from anybody. */

export interface LossPointAnswer {
  readonly node: string;
  readonly hook: string;
  readonly leg: string;
  readonly reason?: string;
}

export interface VerdictAnswer {
  readonly fault: string;
  readonly place: Readonly<Record<string, string | undefined>>;
  readonly text: string;
  readonly next: string;
  readonly kinds: readonly string[];
  readonly 'loss-point'?: LossPointAnswer;
  readonly since: string;
  readonly confidence: number;
  readonly evidence: {
    readonly observers: number;
    readonly sent: number;
    readonly lost: number;
    readonly against: number;
  };
}

export interface DiagnosisAnswer {
  readonly state: 'healthy' | 'degraded' | 'broken' | 'unknown';
  readonly at: string;
  readonly verdicts: readonly VerdictAnswer[];
  readonly silent: readonly { readonly node: string; readonly 'age-ms'?: number }[];
}

export interface PathNamesAnswer {
  readonly peer: string;
  readonly kind: string;
  readonly 'path-class': string;
  readonly responder: string;
  readonly expects: 'answer' | 'silence';
  readonly family: number;
  readonly address: string;
}

export interface PathAnswer extends PathNamesAnswer {
  readonly state: string;
  readonly since: string;
  readonly reason?: string;
  readonly window: {
    readonly sent: number;
    readonly answered: number;
    readonly late: number;
    readonly duplicate: number;
    readonly 'rtt-ns'?: {
      readonly min: number;
      readonly p50: number;
      readonly p99: number;
      readonly max: number;
    };
    readonly 'residence-ns'?: number;
  };
  readonly 'last-answered'?: string;
  readonly 'loss-point'?: LossPointAnswer;
  readonly 'path-mtu'?: number;
  readonly 'black-hole': boolean;
  readonly 'phases-ns'?: Readonly<Record<string, number>>;
}

export interface PairAnswer {
  readonly from: string;
  readonly to: string;
  readonly source: 'self' | 'asked' | 'row' | 'none';
  readonly reason?: string;
  readonly paths: readonly PathAnswer[];
}

export interface ChangeAnswer extends PathNamesAnswer {
  readonly from: string;
  readonly to: string;
  readonly at: string;
  readonly reason?: string;
}

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
