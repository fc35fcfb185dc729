import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { type Check, type CheckResult, fails, passes, trackedFiles } from './check.ts';

/** Licences that may be shipped with, or used to build, an Apache-2.0 project. */
const ALLOWED_LICENCES = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'Python-2.0',
  'Unlicense',
]);
const LARGEST_TEXT_BYTES = 8 * 1024 * 1024;

interface LockedPackage {
  readonly license?: string;
  readonly link?: boolean;
}

/** Whether one of the alternatives of an SPDX expression without WITH is allowed: `(MIT OR CC0-1.0)`. */
function licenceAllowed(expression: string): boolean {
  return expression
    .replace(/[()]/g, '')
    .split(/ OR /)
    .some((alternative) => alternative.split(/ AND /).every((id) => ALLOWED_LICENCES.has(id.trim())));
}

async function licences(): Promise<CheckResult> {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  const refused = Object.entries(lock.packages)
    .filter(
      ([path, entry]) => path !== '' && entry.link !== true && !licenceAllowed(entry.license ?? 'none named'),
    )
    .map(([path, entry]) => `${path}: ${entry.license ?? 'none named'}`);
  return refused.length === 0 ? passes : fails(`licences outside the allowed list:\n${refused.join('\n')}`);
}

/** Hosts from which this machine fetches packages: they say where somebody worked, and belong in no file. */
function registryHosts(): string[] {
  const sources = ['/etc/apt/sources.list', '/etc/apt/sources.list.d/debian.sources']
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, 'utf8'));
  const registry = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' });
  const urls = [registry, ...sources].join('\n').match(/https?:\/\/[^/\s]+/g) ?? [];
  return [...new Set(urls.map((url) => new URL(url).hostname))].filter((host) => host.includes('.'));
}

function machinePaths(): string[] {
  const here = process.cwd();
  const home = homedir();
  const deep = (path: string): boolean => path.split('/').length > 2;
  return [here, home].filter((path) => deep(path)).map((path) => `${path}/`);
}

async function tracelessness(): Promise<CheckResult> {
  const needles = [...registryHosts(), ...machinePaths()];
  const hits: string[] = [];
  for (const file of trackedFiles('.')) {
    if (!existsSync(file) || !statSync(file).isFile() || statSync(file).size > LARGEST_TEXT_BYTES) continue;
    const text = readFileSync(file, 'latin1');
    for (const needle of needles) if (text.includes(needle)) hits.push(`${file}: ${needle}`);
  }
  return hits.length === 0
    ? passes
    : fails(`hosts of a package source or paths of this machine:\n${hits.join('\n')}`);
}

export const repositoryChecks: readonly Check[] = [
  { name: 'licences', run: licences },
  { name: 'no traces', run: tracelessness },
];
