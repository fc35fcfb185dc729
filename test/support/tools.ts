import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where `scripts/setup build e2e` unpacks tools that are not installed. */
const TOOL_FOLDERS = [...(process.env.PATH ?? '').split(delimiter), 'build/tools/usr/bin'];

/** A program of the machine or of `build/tools`; undefined where there is none. */
export function tool(name: string): string | undefined {
  return TOOL_FOLDERS.map((folder) => join(folder, name)).find((file) => existsSync(file));
}
