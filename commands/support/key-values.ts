import { UsageError } from '../../src/base/errors.ts';

/**
 * Reads `Key=value` words.
 * @throws UsageError code KEY_VALUE
 */
export function parseKeyValues(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=');
      if (at > 0) return [word.slice(0, at), word.slice(at + 1)];
      throw new UsageError(`${JSON.stringify(word)} is not of the form Key=value`, { code: 'KEY_VALUE' });
    }),
  );
}

const ON = new Set(['true', 'on', 'enable', 'enabled', '1']);
const OFF = new Set(['false', 'off', 'disable', 'disabled', '0']);

/** `Enabled` or `Disabled` for the usual words of a switch; other text as it is. */
export function switchText(value: string): string {
  const word = value.toLowerCase();
  return ON.has(word) ? 'Enabled' : OFF.has(word) ? 'Disabled' : value;
}
