import { UsageError } from '../../src/base/errors.ts';
import { escapeAsGo, toJson } from '../../src/view/json.ts';
import { printable } from '../../src/view/printable.ts';
import type { Compat } from '../../src/view/types.ts';

/** What `-o` asks for. Text is the layout for people. */
export type OutputFormat =
  | { readonly kind: 'text' }
  | { readonly kind: 'json' }
  | { readonly kind: 'yaml' }
  | { readonly kind: 'jsonpath'; readonly template: string };

/**
 * Reads the value of `-o`: `json`, `yaml`, `jsonpath={.revision}`, `text`.
 * @throws UsageError code OUTPUT_FORMAT
 */
export function parseOutputFormat(text: string): OutputFormat {
  if (text === 'json' || text === 'yaml' || text === 'text') return { kind: text };
  const template = /^jsonpath=(.*)$/s.exec(text)?.[1];
  if (template !== undefined) return { kind: 'jsonpath', template: template.replace(/^'(.*)'$/s, '$1') };
  throw new UsageError(`-o ${JSON.stringify(text)} is not an output format`, {
    code: 'OUTPUT_FORMAT',
    hint: "one of json, yaml, jsonpath='{.field}', text",
  });
}

/** Programs get the values as they are; a terminal must not obey them. */
function forStdout(text: string): string {
  return process.stdout.isTTY ? printable(text) : text;
}

/** `value` in the asked form, ending in a newline; the text layout is made only when it is wanted. */
export async function formatOutput(
  format: OutputFormat,
  value: unknown,
  text: () => string | Promise<string>,
  compat: Compat,
): Promise<string> {
  switch (format.kind) {
    case 'text':
      return printable(await text());
    case 'json':
      return compat === undefined ? toJson(value) : `${escapeAsGo(toJson(value))}`;
    case 'yaml': {
      const { toYaml } = await import('../../src/view/yaml.ts');
      return forStdout(toYaml(value));
    }
    case 'jsonpath': {
      const { renderJsonPath } = await import('../../src/view/jsonpath.ts');
      return forStdout(`${renderJsonPath(format.template, value)}\n`);
    }
  }
}

/** Whether the words of a command ask for machine-readable output: read before they are parsed, for errors. */
export function wantsMachineErrors(argv: readonly string[]): boolean {
  return argv.some((word, i) => {
    if (/^(-o|--output)$/.test(word)) return /^(json|yaml|jsonpath)/.test(argv[i + 1] ?? '');
    return /^(-o=?|--output=)(json|yaml|jsonpath)/.test(word);
  });
}
