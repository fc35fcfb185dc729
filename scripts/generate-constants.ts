/**
 * Writes what C and TypeScript share from one list: `bpf/lib/constants_gen.h` and `src/model/constants.gen.ts`
 * from `bpf/constants.json`. With `--check` it writes nothing and exits 1 when a file is not what it would write.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

interface Table {
  readonly about: string;
  readonly prefix: string;
  readonly values?: readonly (readonly [name: string, value: number, text: string])[];
  readonly strings?: readonly (readonly [name: string, text: string])[];
}

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const SOURCE = 'bpf/constants.json';
const BANNER = `Written by scripts/generate-constants.ts from ${SOURCE}. Do not edit.`;

function readTables(): [name: string, table: Table][] {
  const { about: _, ...tables } = JSON.parse(readFileSync(join(ROOT, SOURCE), 'utf8')) as Record<
    string,
    Table
  >;
  return Object.entries(tables as Record<string, Table>);
}

function camel(name: string): string {
  return name.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function cHeader(tables: readonly [string, Table][]): string {
  const lines = [
    '/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */',
    `/* ${BANNER} */`,
    '/* clang-format off */',
    '#ifndef CILIATE_CONSTANTS_GEN_H',
    '#define CILIATE_CONSTANTS_GEN_H',
  ];
  for (const [, table] of tables) {
    lines.push('', `/* ${table.about} */`);
    for (const [name, value] of table.values ?? []) lines.push(`#define ${table.prefix}${name} ${value}`);
    for (const [name, text] of table.strings ?? []) lines.push(`#define ${table.prefix}${name} ${text}`);
  }
  lines.push('', '/* clang-format on */', '#endif', '');
  return lines.join('\n');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "\\'")}'`;
}

function typescript(tables: readonly [string, Table][]): string {
  const lines = [`// ${BANNER}`];
  for (const [name, table] of tables) {
    const type = name[0]?.toUpperCase() + name.slice(1);
    lines.push('', `/** ${table.about} */`, `export const ${type} = {`);
    for (const [key, value] of table.values ?? []) lines.push(`  ${camel(key)}: ${value},`);
    for (const [key, text] of table.strings ?? []) lines.push(`  ${camel(key)}: ${quote(text)},`);
    lines.push('} as const;');
    if (table.values === undefined) continue;
    lines.push('', `/** Texts of {@link ${type}}. */`);
    lines.push(`export const ${name}Text: Readonly<Record<number, string>> = {`);
    for (const [, value, text] of table.values) lines.push(`  ${value}: ${quote(text)},`);
    lines.push('};');
  }
  lines.push('');
  return lines.join('\n');
}

function main(check: boolean): number {
  const tables = readTables();
  const outputs = [
    ['bpf/lib/constants_gen.h', cHeader(tables)],
    ['src/model/constants.gen.ts', typescript(tables)],
  ] as const;
  let stale = 0;
  for (const [path, text] of outputs) {
    if (!check) writeFileSync(join(ROOT, path), text);
    else if (readFileSync(join(ROOT, path), 'utf8') !== text) {
      process.stderr.write(`${path} does not follow ${SOURCE}: run \`node scripts/generate-constants.ts\`\n`);
      stale++;
    }
  }
  return stale === 0 ? 0 : 1;
}

process.exitCode = main(process.argv.includes('--check'));
