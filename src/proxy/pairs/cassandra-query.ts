import { CASSANDRA_ACTIONS } from '../../model/cassandra-actions.ts';

/** A statement as rules see it; `name` has no keyspace when the statement names none. */
export interface CqlStatement {
  /** One of `CASSANDRA_ACTIONS`. */
  readonly action: string;
  readonly keyspace: string | undefined;
  /** Empty for actions without a table; of actions on keyspaces the keyspace. */
  readonly name: string;
}

interface Token {
  /** `word`: unquoted, in lower case; `name`: in double quotes; `text`: a string. */
  readonly kind: 'word' | 'name' | 'text' | 'symbol';
  readonly text: string;
}

/** Blank, string, `$$` string, quoted name, word, or one character; comments are not among them. */
const TOKEN = /\s+|'([^']*(?:''[^']*)*)'|\$\$(.*?)\$\$|"([^"]+(?:""[^"]*)*)"|([A-Za-z_][A-Za-z0-9_]*)|(.)/sy;
const COMMENT = /--|\/\/|\/\*/y;

/** @returns undefined for a text with comments or open quotes: who reads it otherwise would see another statement */
function tokenize(cql: string): Token[] | undefined {
  const tokens: Token[] = [];
  for (let at = 0; at < cql.length; ) {
    COMMENT.lastIndex = at;
    TOKEN.lastIndex = at;
    const found = COMMENT.test(cql) ? null : TOKEN.exec(cql);
    if (found === null) return undefined;
    at = TOKEN.lastIndex;
    const [, text, dollars, name, word, symbol] = found;
    if (symbol !== undefined && `'"$`.includes(symbol)) return undefined;
    if (text !== undefined || dollars !== undefined) tokens.push({ kind: 'text', text: '' });
    else if (name !== undefined) tokens.push({ kind: 'name', text: name.replaceAll('""', '"') });
    else if (word !== undefined) tokens.push({ kind: 'word', text: word.toLowerCase() });
    else if (symbol !== undefined) tokens.push({ kind: 'symbol', text: symbol });
  }
  return tokens;
}

const ALIASES: Readonly<Record<string, string>> = { columnfamily: 'table', schema: 'keyspace' };

/** Walks over the tokens of one statement. */
class Statement {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  word(): string {
    const token = this.#tokens[this.#at++];
    return token?.kind === 'word' ? token.text : '';
  }

  /** Steps over these words if they are next. */
  skip(...words: readonly string[]): boolean {
    const here = words.every((word, i) => {
      const token = this.#tokens[this.#at + i];
      return token?.kind === 'word' && token.text === word;
    });
    if (here) this.#at += words.length;
    return here;
  }

  has(word: string): boolean {
    return this.#tokens.some(({ kind, text }) => kind === 'word' && text === word);
  }

  /** Steps behind the first `from` that stands in no brackets. */
  skipToFrom(): boolean {
    let depth = 0;
    for (; this.#at < this.#tokens.length; this.#at++) {
      const { kind, text } = this.#tokens[this.#at] as Token;
      if (kind === 'symbol' && '([{'.includes(text)) depth++;
      if (kind === 'symbol' && ')]}'.includes(text)) depth--;
      if (kind !== 'word' || text !== 'from' || depth !== 0) continue;
      this.#at++;
      return true;
    }
    return false;
  }

  /** A name with or without its keyspace. */
  name(action: string): CqlStatement | undefined {
    const first = this.#part();
    if (first === undefined) return undefined;
    const dot = this.#tokens[this.#at];
    if (dot?.kind !== 'symbol' || dot.text !== '.') return { action, keyspace: undefined, name: first };
    this.#at++;
    const second = this.#part();
    return second === undefined ? undefined : { action, keyspace: first, name: second };
  }

  #part(): string | undefined {
    const token = this.#tokens[this.#at++];
    return token?.kind === 'word' || token?.kind === 'name' ? token.text : undefined;
  }
}

/** CREATE, ALTER and DROP. */
function readSchema(verb: string, statement: Statement): CqlStatement | undefined {
  statement.skip('or', 'replace');
  statement.skip('custom');
  const word = statement.word();
  const what =
    word === 'materialized' && statement.skip('view') ? 'materialized-view' : (ALIASES[word] ?? word);
  const action = `${verb}-${what}`;
  if (what !== 'table' && what !== 'keyspace') return { action, keyspace: undefined, name: '' };
  if (!statement.skip('if', 'not', 'exists')) statement.skip('if', 'exists');
  return statement.name(action);
}

function readStatement(statement: Statement): CqlStatement | undefined {
  const plain = (action: string): CqlStatement => ({ action, keyspace: undefined, name: '' });
  const verb = statement.word();
  switch (verb) {
    case 'select':
    case 'delete':
      return statement.skipToFrom() ? statement.name(verb) : undefined;
    case 'insert':
      return statement.skip('into') ? statement.name(verb) : undefined;
    case 'update':
    case 'use':
      return statement.name(verb);
    case 'truncate':
      if (!statement.skip('table')) statement.skip('columnfamily');
      return statement.name('truncate-table');
    case 'create':
    case 'alter':
    case 'drop':
      return readSchema(verb, statement);
    case 'list':
      if (statement.skip('roles')) return plain('list-roles');
      return plain(statement.skip('users') ? 'list-users' : 'list-permissions');
    case 'grant':
    case 'revoke':
      return plain(`${verb}-${statement.has('on') ? 'permission' : 'role'}`);
    default:
      return undefined;
  }
}

/**
 * Reads a statement of CQL, as far as rules look at it.
 * @returns undefined for what nobody can judge: comments, several statements, statements that rules have no word for
 */
export function readCql(cql: string): CqlStatement | undefined {
  const tokens = tokenize(cql);
  if (tokens === undefined) return undefined;
  while (tokens.at(-1)?.kind === 'symbol' && tokens.at(-1)?.text === ';') tokens.pop();
  if (tokens.some(({ kind, text }) => kind === 'symbol' && text === ';')) return undefined;
  const found = readStatement(new Statement(tokens));
  return found !== undefined && CASSANDRA_ACTIONS.has(found.action) ? found : undefined;
}
