import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../../base/assets.ts';
import { errorText, SystemError } from '../../base/errors.ts';

/** The built page: `web/build.ts` makes it. */
export interface DashboardAssets {
  readonly page: string;
  readonly policy: string;
  /** By name, which holds a hash of the content. */
  readonly files: ReadonlyMap<string, DashboardFile>;
}

export interface DashboardFile {
  readonly type: string;
  readonly body: Uint8Array<ArrayBuffer>;
}

const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
};
const PAGE = 'index.html';
const POLICY = 'content-security-policy.txt';

/** Files by name as they are served. */
export function dashboardAssets(files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>): DashboardAssets {
  const text = (name: string): string => new TextDecoder().decode(files.get(name));
  const served = [...files].flatMap(([name, body]) => {
    const type = TYPES[extname(name)];
    return type === undefined ? [] : [[name, { type, body }] as const];
  });
  return { page: text(PAGE), policy: text(POLICY).trim(), files: new Map(served) };
}

function readFolder(folder: string): DashboardAssets {
  const names = readdirSync(folder);
  return dashboardAssets(
    new Map(names.map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))])),
  );
}

interface Builder {
  buildDashboard(): Promise<ReadonlyMap<string, Uint8Array<ArrayBuffer>>>;
}

/**
 * The page: from beside the bundle, or built from its sources when this runs from source.
 * @throws SystemError code DASHBOARD_MISSING
 */
export async function loadDashboardAssets(): Promise<DashboardAssets> {
  try {
    if (!import.meta.filename.endsWith('.ts')) return readFolder(join(packageRoot(), 'dist', 'dashboard'));
    // Not by name: the bundle must not take the builder in.
    const builder: string = pathToFileURL(join(packageRoot(), 'web', 'build.ts')).href;
    const { buildDashboard } = (await import(builder)) as Builder;
    return dashboardAssets(await buildDashboard());
  } catch (cause) {
    throw new SystemError(`the dashboard cannot be read: ${errorText(cause)}`, {
      code: 'DASHBOARD_MISSING',
      hint: 'run `npm run build`',
      cause,
    });
  }
}
