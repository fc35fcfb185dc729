import { UsageError } from '../base/errors.ts';
import { compileDnsPattern, foldDnsName } from './dns-pattern.ts';

/** Most characters of a name or pattern. */
const LONGEST = 255;
const LABELS = /^[-a-z0-9_]+(?:\.[-a-z0-9_]+)*$/;
/** What may stand before a name: one label, or one or more. */
const PREFIX = /^\*?\*\./;

/** A server name of a rule cannot be used. Code SERVER_NAME_INVALID. */
export class ServerNameError extends UsageError {}

/**
 * Reads an entry of `serverNames`: a name, `*.` before one for a label more, or `**.` for one label or more; in any case,
 * with or without the final dot.
 * @returns it in lower case, without the final dot
 * @throws ServerNameError
 */
export function parseServerName(text: string): string {
  const invalid = (reason: string): ServerNameError =>
    new ServerNameError(`${JSON.stringify(text.slice(0, 80))} is no server name: ${reason}`, {
      code: 'SERVER_NAME_INVALID',
    });
  if (text === '') throw invalid('it is empty');
  if (text.length > LONGEST) throw invalid(`it has ${text.length} characters, more than ${LONGEST}`);
  const folded = foldDnsName(text);
  const name = folded.replace(PREFIX, '');
  if (name.includes('*')) throw invalid('a * may stand only in "*." or "**." before the name');
  if (!LABELS.test(name)) throw invalid('it is made of letters, digits, -, _ and dots between them');
  return folded;
}

/** Whether a name, lower case and without the final dot, is one that the entry of `serverNames` allows. */
export function serverNameMatcher(pattern: string): (name: string) => boolean {
  return PREFIX.test(pattern)
    ? compileDnsPattern({ kind: 'pattern', pattern })
    : compileDnsPattern({ kind: 'name', name: pattern });
}
