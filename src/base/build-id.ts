import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './assets.ts';

/** What is compiled: the bundle and the addons. Sources that are newer than the bundle are not told apart. */
const COMPILED = [
  { folder: 'dist', suffix: '.cjs' },
  { folder: 'build', suffix: '.node' },
] as const;

/** Twelve digits that are others when the compiled code on disk is; a process that runs on keeps what it began with. */
export function buildId(root = packageRoot()): string {
  const hash = createHash('sha256');
  for (const { folder, suffix } of COMPILED) {
    const path = join(root, folder);
    const names = existsSync(path) ? readdirSync(path).filter((name) => name.endsWith(suffix)) : [];
    for (const name of names.sort())
      hash.update(`${folder}/${name}\0`).update(readFileSync(join(path, name)));
  }
  return hash.digest('hex').slice(0, 12);
}
