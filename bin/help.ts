import { join } from 'node:path';
import { Config } from '@oclif/core/config';
import { Help } from '@oclif/core/help';
import { terminalWidth } from '../commands/support/health-flags.ts';
import pjson from '../package.json' with { type: 'json' };

/** What help is made for: a narrower terminal gets it narrower. */
const HELP_WIDTH = 80;

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
  const width = terminalWidth();
  const narrow = width < HELP_WIDTH ? { maxWidth: width } : {};
  const help = new Help(config, { ...config.pjson.oclif.helpOptions, ...narrow, hideAliasesFromRoot: true });
  await help.showHelp([...words]);
}
