import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../base/assets.ts';

/** Version of this program, from package.json. */
export function programVersion(): string {
  const { version }: { version?: unknown } = JSON.parse(
    readFileSync(join(packageRoot(), 'package.json'), 'utf8'),
  );
  return typeof version === 'string' ? version : 'unknown';
}
