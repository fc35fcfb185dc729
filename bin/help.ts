import { join } from 'node:path';
import { Config } from '@oclif/core/config';
import { Help } from '@oclif/core/help';
import pjson from '../package.json' with { type: 'json' };

/** The bundle carries its manifest beside itself; from source every command's module is read. */
const bundled = !import.meta.filename.endsWith('.ts');

/** The configuration with every command and topic in it. */
export async function fullConfig(): Promise<Config> {
  const root = bundled ? import.meta.dirname : join(import.meta.dirname, '..');
  const config = new Config({ root, pjson: pjson as unknown as Config['pjson'], ignoreManifest: !bundled });
  await config.load();
  return config;
}

/** Prints the help of a command or topic, or of everything. */
export async function showHelp(words: readonly string[]): Promise<void> {
  const config = await fullConfig();
  const help = new Help(config, { ...config.pjson.oclif.helpOptions, hideAliasesFromRoot: true });
  await help.showHelp([...words]);
}
