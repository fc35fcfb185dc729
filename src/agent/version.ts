import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../base/assets.ts';
import { buildId } from '../base/build-id.ts';

/** Version of this program, from package.json. */
export function programVersion(): string {
  const { version }: { version?: unknown } = JSON.parse(
    readFileSync(join(packageRoot(), 'package.json'), 'utf8'),
  );
  return typeof version === 'string' ? version : 'unknown';
}

/** Version and build of this program: `0.1.0+3f2a9c01b7de`. */
export function programBuild(): string {
  return `${programVersion()}+${buildId()}`;
}
