import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../src/base/errors.ts';
import { parseDuration } from '../../src/view/duration.ts';

/** A flag that takes `5s`, `1m30s`; its value is in milliseconds. A bare number is seconds. */
export const durationFlag = Flags.custom<number>({
  parse: (text) => {
    const ns = parseDuration(/^\d+$/.test(text) ? `${text}s` : text);
    if (ns !== undefined && ns >= 0n) return Promise.resolve(Number(ns / 1_000_000n));
    throw new UsageError(`${JSON.stringify(text)} is not a duration such as 30s or 1m30s`, {
      code: 'DURATION',
    });
  },
});
