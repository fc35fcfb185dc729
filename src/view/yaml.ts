import { stringify } from 'yaml';

/** YAML of a JSON-like value; keys keep their order, long lines are not folded, a `bigint` is a plain integer. */
export function toYaml(value: unknown): string {
  return stringify(value ?? null, { lineWidth: 0, aliasDuplicateObjects: false });
}
