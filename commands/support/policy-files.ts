import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { UsageError } from '../../src/base/errors.ts';
import type { PolicyText } from '../../src/policy/validate.ts';

const POLICY_FILE = /\.(?:ya?ml|json)$/;

async function readOne(path: string): Promise<PolicyText[]> {
  if (path === '-') return [{ file: 'stdin', text: await text(process.stdin) }];
  if (!(await stat(path)).isDirectory()) return [{ file: path, text: await readFile(path, 'utf8') }];
  const names = (await readdir(path)).filter((name) => POLICY_FILE.test(name)).sort();
  if (names.length === 0)
    throw new UsageError(`${path} holds no .yaml, .yml or .json file`, { code: 'NO_POLICY_FILE' });
  return Promise.all(
    names.map(async (name) => ({ file: join(path, name), text: await readFile(join(path, name), 'utf8') })),
  );
}

/**
 * Reads policy files; a folder stands for the policy files in it, `-` for standard input.
 * @throws UsageError code POLICY_FILE, NO_POLICY_FILE
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
      throw new UsageError(`cannot read the policy file ${path}`, { code: 'POLICY_FILE', cause });
    }
  }
  return texts;
}
