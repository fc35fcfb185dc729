import { globSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from '@oclif/core/command';
import type { Config } from '@oclif/core/config';

/** A command's class, as its module exports it. */
export interface CommandClass {
  id: string;
  new (argv: string[], config: Config): Command;
}

/** Id of a command (`endpoint:list`) -> how to load its module. The bundler replaces this module by a fixed table. */
export type Registry = ReadonlyMap<string, () => Promise<unknown>>;

const FOLDER = join(import.meta.dirname, '..', 'commands');

/** Files below `commands/` that are no commands. */
export function isCommandFile(file: string): boolean {
  return (
    file.endsWith('.ts') && !file.endsWith('.d.ts') && file !== 'base.ts' && !file.startsWith('support/')
  );
}

/** `endpoint/list.ts` -> `endpoint:list`; `config/index.ts` -> `config`. */
export function commandId(file: string): string {
  return file.replace(/(?:\/index)?\.ts$/, '').replaceAll('/', ':');
}

/** Commands by the files that are there. */
export function loadRegistry(): Registry {
  const files = globSync('**/*.ts', { cwd: FOLDER }).filter(isCommandFile).sort();
  return new Map(files.map((file) => [commandId(file), () => import(join(FOLDER, file))]));
}
