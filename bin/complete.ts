import { globalFlags } from '../commands/base.ts';
import { loadCommand } from './load-command.ts';
import type { CommandClass, Registry } from './registry.ts';

interface FlagShape {
  readonly char?: string;
  readonly hidden?: boolean;
  readonly options?: readonly string[];
}

/** What completion reads of a command's class. */
interface Completable extends CommandClass {
  readonly flags?: Readonly<Record<string, FlagShape>>;
  readonly args?: Readonly<Record<string, { readonly options?: readonly string[] }>>;
}

/** Commands and topics that may stand after `words`. */
function nextWords(words: readonly string[], registry: Registry): string[] {
  const paths = [...registry.keys()].map((id) => id.split(':'));
  const below = paths.filter((path) => words.every((word, i) => word === path[i]));
  return below.flatMap((path) => path[words.length] ?? []);
}

async function commandWords(id: string, before: string | undefined, registry: Registry): Promise<string[]> {
  const Class = (await loadCommand(id, registry)) as Completable;
  const flags: Readonly<Record<string, FlagShape>> = { ...globalFlags, ...Class.flags };
  const named = Object.entries(flags).find(
    ([name, { char }]) => before === `--${name}` || before === `-${char}`,
  );
  if (named?.[1].options !== undefined) return [...named[1].options];
  const args = Object.values(Class.args ?? {}).flatMap(({ options }) => options ?? []);
  const shown = Object.entries(flags).filter(([, { hidden }]) => hidden !== true);
  return [...args, ...shown.map(([name]) => `--${name}`)];
}

/**
 * Words that may stand at the end of a command line. The last of `words` is the one under the cursor, perhaps empty.
 * Commands come from the registry, flags and their values from the command itself.
 */
export async function complete(words: readonly string[], registry: Registry): Promise<readonly string[]> {
  const current = words.at(-1) ?? '';
  const done = words.slice(0, -1);
  const path = done.filter((word) => !word.startsWith('-'));
  const ids = path.map((_, i) => path.slice(0, path.length - i).join(':'));
  const id = ids.find((candidate) => registry.has(candidate));
  const found = nextWords(path, registry);
  if (id !== undefined) found.push(...(await commandWords(id, done.at(-1), registry)));
  return [...new Set(found)].filter((word) => word.startsWith(current)).sort();
}
