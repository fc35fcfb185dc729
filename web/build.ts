import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { build } from 'esbuild';

/**
 * Builds the dashboard: one script, one style, both named by their content, the page that names them with their digests,
 * and the policy under which a browser runs it.
 */

function hashOf(content: Uint8Array | string): string {
  return createHash('sha256').update(content).digest('base64');
}

/** `app-1a2b3c4d5e6f7a8b.js`. */
function hashedName(name: string, content: Uint8Array): string {
  const extension = extname(name);
  const digest = createHash('sha256').update(content).digest('hex').slice(0, 16);
  return `${name.slice(0, -extension.length)}-${digest}${extension}`;
}

interface Built {
  readonly name: string;
  readonly content: Uint8Array<ArrayBuffer>;
}

async function bundle(entry: string, name: string): Promise<Built> {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, entry)],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'silent',
  });
  const content = new Uint8Array(outputFiles[0]?.contents ?? []);
  return { name: hashedName(name, content), content };
}

/** What the page may do: run its own script and nothing else, and be framed by nobody. No text ever becomes markup. */
function policyOf(inlineScript: string): string {
  return [
    "default-src 'none'",
    `script-src 'self' 'sha256-${hashOf(inlineScript)}'`,
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}

/** @returns the files by name */
export async function buildDashboard(): Promise<ReadonlyMap<string, Uint8Array<ArrayBuffer>>> {
  const template = await readFile(join(import.meta.dirname, 'index.html'), 'utf8');
  const built = await Promise.all([bundle('src/main.ts', 'app.js'), bundle('style.css', 'style.css')]);
  let page = template.replace(/<!--[\s\S]*?-->\n?/g, '');
  for (const { name, content } of built) {
    const plain = name.replace(/-[0-9a-f]{16}/, '');
    page = page.replaceAll(`"${plain}"`, `"assets/${name}" integrity="sha256-${hashOf(content)}"`);
  }
  const inline = /<script>([\s\S]*?)<\/script>/.exec(page)?.[1] ?? '';
  const encoder = new TextEncoder();
  return new Map([
    ['index.html', encoder.encode(page)],
    ['content-security-policy.txt', encoder.encode(`${policyOf(inline)}\n`)],
    ...built.map(({ name, content }) => [name, content] as const),
  ]);
}
