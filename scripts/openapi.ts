/**
 * Writes src/api/openapi.json from the contract; with --check only compares and fails when the file is out of date.
 * Usage: node scripts/openapi.ts [--check]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openApiDocument } from '../src/api/openapi.ts';
import { packageRoot } from '../src/base/assets.ts';

const file = join(packageRoot(), 'src/api/openapi.json');
const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
  version: string;
};
const text = `${JSON.stringify(openApiDocument(version), null, 2)}\n`;

if (!process.argv.includes('--check')) {
  writeFileSync(file, text);
} else if (readFileSync(file, 'utf8') !== text) {
  console.error('src/api/openapi.json is out of date: run `node scripts/openapi.ts`');
  process.exitCode = 1;
}
