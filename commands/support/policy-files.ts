import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { errnoOf, NotPermittedError, UsageError } from '../../src/base/errors.ts';
import type { PolicyText } from '../../src/policy/validate.ts';

const POLICY_FILE = /\.(?:ya?ml|json)$/;

/** @throws UsageError NO_UTF8: a byte that is none would stand for another one in a label or a name */
function decoded(file: string, bytes: Uint8Array): PolicyText {
  try {
    return { file, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch (cause) {
    const hint = 'convert it: iconv -f WHAT-IT-IS -t utf-8';
    throw new UsageError(`${file} is no text in UTF-8`, { code: 'NO_UTF8', hint, cause });
  }
}

async function readOne(path: string): Promise<PolicyText[]> {
  if (path === '-') return [decoded('stdin', await buffer(process.stdin))];
  if (!(await stat(path)).isDirectory()) return [decoded(path, await readFile(path))];
  const names = (await readdir(path)).filter((name) => POLICY_FILE.test(name)).sort();
  if (names.length === 0)
    throw new UsageError(`${path} holds no .yaml, .yml or .json file`, { code: 'NO_POLICY_FILE' });
  return Promise.all(names.map(async (name) => decoded(join(path, name), await readFile(join(path, name)))));
}

function unreadable(path: string, cause: unknown): Error {
  const errno = errnoOf(cause);
  if (errno === 'EACCES' || errno === 'EPERM')
    return new NotPermittedError(`not permitted to read the policy file ${path}`, {
      code: 'POLICY_FILE_NOT_PERMITTED',
      hint: 'run as a user who may read it, or give it on standard input: `... - < FILE`',
      cause,
    });
  return new UsageError(`cannot read the policy file ${path}`, {
    code: 'POLICY_FILE',
    hint: errno === 'ENOENT' ? 'name a policy file, a folder with some, or - for standard input' : undefined,
    cause,
  });
}

/**
 * Reads policy files; a folder stands for the policy files in it, `-` for standard input.
 * @throws UsageError code POLICY_FILE, NO_POLICY_FILE, NO_UTF8 · NotPermittedError code POLICY_FILE_NOT_PERMITTED
 */
export async function readPolicyFiles(paths: readonly string[]): Promise<PolicyText[]> {
  if (paths.length === 0)
    throw new UsageError('name a policy file, a folder, or - for standard input', { code: 'NO_POLICY_FILE' });
  const texts: PolicyText[] = [];
  for (const path of paths) {
    try {
      texts.push(...(await readOne(path)));
    } catch (cause) {
      if (cause instanceof UsageError) throw cause;
      throw unreadable(path, cause);
    }
  }
  return texts;
}
