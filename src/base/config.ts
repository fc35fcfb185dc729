import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { closestName } from './did-you-mean.ts';
import { errorText, UsageError } from './errors.ts';

/** One option of a program: how its text is read, and what it is when nobody sets it. */
export interface OptionSpec<T> {
  /** One line for `--help` and the reference. */
  readonly description: string;
  /** Reads the text of a flag, variable or file. @throws UsageError, or any Error, with the reason */
  readonly parse: (text: string) => T;
  readonly fallback: T;
  /** Writes a value as `parse` reads it, with its unit; absent where the value says all. */
  format?(value: T): string;
  /** Shown for the value in `--help`: `CIDR`, `ADDRESS:PORT`. */
  readonly placeholder?: string | undefined;
}

/** Options by their name in kebab-case: the flag `--x-y`, the variable `PREFIX_X_Y` and the file `x-y`. */
export type OptionTable = Readonly<Record<string, OptionSpec<unknown>>>;
export type OptionValues<T extends OptionTable> = {
  readonly [K in keyof T]: T[K] extends OptionSpec<infer V> ? V : never;
};

/** Where a value came from. */
export interface Origin {
  readonly kind: 'flag' | 'environment' | 'file' | 'default';
  /** `flag --x-y`, `env PREFIX_X_Y`, `file /folder/x-y`, `default`. */
  readonly text: string;
}

export interface ConfigSources {
  /** Flags that were given, by option name; undefined ones were not. */
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Prefix of the variables, without the underscore. */
  readonly environmentPrefix: string;
  /** A folder with one file per option, as a mounted ConfigMap has it; undefined for none. */
  readonly folder: string | undefined;
}

export interface ResolvedConfig<T extends OptionTable> {
  readonly values: OptionValues<T>;
  readonly origins: Readonly<Record<keyof T & string, Origin>>;
}

interface Given {
  readonly text: string;
  readonly origin: Origin;
}

export function environmentName(prefix: string, option: string): string {
  return `${prefix}_${option.replaceAll('-', '_').toUpperCase()}`;
}

/** Files of a config folder; hidden ones (`..data` of a ConfigMap) are not options. */
function readFolder(folder: string | undefined): Map<string, Given> {
  const found = new Map<string, Given>();
  if (folder === undefined) return found;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.name.startsWith('.') || entry.isDirectory()) continue;
      const path = join(folder, entry.name);
      const text = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
      found.set(entry.name, { text, origin: { kind: 'file', text: `file ${path}` } });
    }
  } catch (cause) {
    throw new UsageError(`config folder ${folder} cannot be read`, {
      code: 'CONFIG_UNREADABLE',
      cause,
    });
  }
  return found;
}

function given(name: string, sources: ConfigSources, files: ReadonlyMap<string, Given>): Given | undefined {
  const flag = sources.flags[name];
  if (flag !== undefined) return { text: String(flag), origin: { kind: 'flag', text: `flag --${name}` } };
  const variable = environmentName(sources.environmentPrefix, name);
  const text = sources.environment[variable];
  if (text !== undefined) return { text, origin: { kind: 'environment', text: `env ${variable}` } };
  return files.get(name);
}

function unknownFiles(table: OptionTable, files: ReadonlyMap<string, Given>): string[] {
  const names = Object.keys(table);
  return [...files]
    .filter(([name]) => !Object.hasOwn(table, name))
    .map(([name, { origin }]) => {
      const close = closestName(name, names);
      return `${origin.text}: no such option${close === undefined ? '' : `, did you mean ${close}?`}`;
    });
}

/** What Kubernetes sets for a service whose name begins with ours: no setting of anybody. */
const SERVICE_VARIABLE = /_SERVICE_(HOST|PORT)(_|$)|_PORT(_\d+_(TCP|UDP|SCTP)(_|$)|$)/;

/**
 * The variables with our prefix that nobody reads, such as misspelt ones; each as a sentence with what was probably meant.
 * @param known names of variables that are no options
 */
export function unknownVariables(
  table: OptionTable,
  sources: Pick<ConfigSources, 'environment' | 'environmentPrefix'>,
  known: readonly string[],
): readonly string[] {
  const { environment, environmentPrefix: prefix } = sources;
  const names = [...Object.keys(table).map((name) => environmentName(prefix, name)), ...known];
  return Object.keys(environment)
    .filter((name) => name.startsWith(`${prefix}_`) && !names.includes(name))
    .map((name) => ({ name, close: closestName(name, names) }))
    .filter(({ name, close }) => close !== undefined || !SERVICE_VARIABLE.test(name))
    .map(({ name, close }) =>
      close === undefined
        ? `the variable ${name} sets nothing`
        : `the variable ${name} sets nothing, did you mean ${close}?`,
    )
    .sort();
}

/**
 * Settles every option: flag before environment before config folder before default. All faults are told at once.
 * @throws UsageError code CONFIG_INVALID naming each wrong value with its place, or CONFIG_UNREADABLE
 */
export function resolveConfig<T extends OptionTable>(table: T, sources: ConfigSources): ResolvedConfig<T> {
  const files = readFolder(sources.folder);
  const problems = unknownFiles(table, files);
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  for (const [name, spec] of Object.entries(table)) {
    const found = given(name, sources, files);
    origins[name] = found?.origin ?? { kind: 'default', text: 'default' };
    try {
      values[name] = found === undefined ? spec.fallback : spec.parse(found.text);
    } catch (error) {
      problems.push(`${name} (${origins[name].text}): ${errorText(error)}`);
    }
  }
  if (problems.length > 0) {
    throw new UsageError(`wrong configuration: ${problems.join('; ')}`, {
      code: 'CONFIG_INVALID',
      hint: 'see `ciliate agent --help` for the options and what they take',
    });
  }
  return { values: values as OptionValues<T>, origins: origins as ResolvedConfig<T>['origins'] };
}
