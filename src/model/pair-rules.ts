import { CASSANDRA_ACTIONS } from './cassandra-actions.ts';
import type { PairKind, PairRule } from './l7.ts';
import { MEMCACHE_COMMANDS } from './memcache-commands.ts';

/** Why a rule of `l7` can allow nothing. */
export interface PairProblem {
  readonly key: string;
  readonly reason: string;
  /** The word that is not known, and those that are. */
  readonly unknown?: { readonly word: string; readonly known: readonly string[] };
}

interface PairForm {
  readonly keys: readonly string[];
  /** Those of `keys` whose value is a regular expression (RE2), found anywhere in what it is held against. */
  readonly regexes: readonly string[];
  readonly check: (rule: PairRule) => PairProblem | undefined;
}

export const R2D2_COMMANDS: readonly string[] = ['READ', 'WRITE', 'HALT', 'RESET'];

function unknownWord(key: string, word: string, what: string, known: readonly string[]): PairProblem {
  return { key, reason: `${JSON.stringify(word.slice(0, 60))} is no ${what}`, unknown: { word, known } };
}

const filled = (text: string | undefined): string | undefined => (text === '' ? undefined : text);

/** The command of a rule for memcached; `opCode` is its older name. */
export function memcacheCommandOf({ command, opCode }: PairRule): string | undefined {
  return filled(command) ?? filled(opCode);
}

function checkMemcache(rule: PairRule): PairProblem | undefined {
  const command = memcacheCommandOf(rule);
  const key = ['keyExact', 'keyPrefix', 'keyRegex'].find((name) => filled(rule[name]) !== undefined);
  if (command === undefined)
    return key === undefined ? undefined : { key, reason: `${key} needs a command beside it` };
  if (MEMCACHE_COMMANDS.has(command)) return undefined;
  const name = filled(rule.command) === undefined ? 'opCode' : 'command';
  return unknownWord(name, command, 'command of memcached', [...MEMCACHE_COMMANDS.keys()]);
}

function checkCassandra(rule: PairRule): PairProblem | undefined {
  const action = filled(rule.query_action);
  if (action === undefined) return undefined;
  const hasTable = CASSANDRA_ACTIONS.get(action);
  if (hasTable === undefined)
    return unknownWord('query_action', action, 'action of CQL', [...CASSANDRA_ACTIONS.keys()]);
  if (hasTable || filled(rule.query_table) === undefined) return undefined;
  return { key: 'query_table', reason: `${action} has no table` };
}

function checkR2d2(rule: PairRule): PairProblem | undefined {
  const cmd = filled(rule.cmd);
  if (cmd === undefined) return undefined;
  if (!R2D2_COMMANDS.includes(cmd)) return unknownWord('cmd', cmd, 'command of r2d2', R2D2_COMMANDS);
  if (filled(rule.file) === undefined || cmd === 'READ' || cmd === 'WRITE') return undefined;
  return { key: 'file', reason: `${cmd} has no file` };
}

/** What the rules of each protocol may say, as in Cilium's parsers. */
export const PAIR_FORMS: Readonly<Record<PairKind, PairForm>> = {
  memcache: {
    keys: ['command', 'opCode', 'keyExact', 'keyPrefix', 'keyRegex'],
    regexes: ['keyRegex'],
    check: checkMemcache,
  },
  cassandra: { keys: ['query_action', 'query_table'], regexes: ['query_table'], check: checkCassandra },
  r2d2: { keys: ['cmd', 'file'], regexes: ['file'], check: checkR2d2 },
};

/** Why the rule can allow nothing, its regular expressions aside; undefined: it means something. */
export function pairProblem(kind: PairKind, rule: PairRule): PairProblem | undefined {
  const { keys, check } = PAIR_FORMS[kind];
  const stray = Object.keys(rule).find((key) => !keys.includes(key));
  return stray === undefined ? check(rule) : unknownWord(stray, stray, `key of ${kind} rules`, keys);
}
