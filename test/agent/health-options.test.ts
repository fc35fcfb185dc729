import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HEALTH_OPTIONS } from '../../src/agent/health-options.ts';
import { UsageError } from '../../src/base/errors.ts';

describe('health-interval of the agent', () => {
  const { parse } = HEALTH_OPTIONS['health-interval'];

  it('is what its health agent takes, and nothing else', () => {
    assert.deepEqual(['100ms', '5s', '24h'].map(parse), [100, 5000, 86_400_000]);
    for (const text of ['99ms', '0s', '24h1s', '-5s', '5', 'x']) {
      assert.throws(
        () => parse(text),
        (error) => error instanceof UsageError && error.code === 'OPTION_INVALID',
        text,
      );
    }
    assert.throws(() => parse('50ms'), { message: /"50ms" is not a duration from 100ms to 24h/ });
  });
});
