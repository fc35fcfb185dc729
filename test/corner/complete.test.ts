import assert from 'node:assert/strict';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type CaseKind, CORNER_CASES } from './cases.ts';

const CASES = 46;
const ROOT = join(import.meta.dirname, '../..');
const LIST = join(ROOT, 'docs/corner-cases.md');
const STAGE = 'test/corner/live.test.ts';

interface FoundTest {
  readonly number: number;
  readonly kind: CaseKind;
  readonly file: string;
  /** From the test's title up to the next test. */
  readonly text: string;
}

const source = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

/** The tests of a file that carry the number of a case, each with the kind of the `describe` that it stands in. */
function testsOf(file: string): readonly FoundTest[] {
  const text = source(file);
  const isLive = file.startsWith('test/corner/live/') || file.startsWith('test/e2e/');
  const marks = [...text.matchAll(/\b(describePrograms|describe)\(|\bit\(\s*['"`](?:corner case (\d+):)?/g)];
  let programs = false;
  return marks.flatMap((mark, i) => {
    const [, block, number] = mark;
    if (block !== undefined) programs = block === 'describePrograms';
    if (number === undefined) return [];
    const kind = isLive ? 'live' : programs ? 'programs' : 'engine';
    return [{ number: Number(number), kind, file, text: text.slice(mark.index, marks[i + 1]?.index) }];
  });
}

const FOUND = globSync(['test/corner/**/*.ts', 'test/e2e/*.test.ts'], { cwd: ROOT })
  .filter((file) => file !== 'test/corner/complete.test.ts')
  .sort()
  .flatMap(testsOf);

function listText(): string {
  const rows = CORNER_CASES.map(({ number, subject, kinds }) => {
    return `| ${number} | ${subject} | ${kinds.join(', ')} |`;
  });
  return `# Corner cases of policy

What implementations of the language get wrong, and how it is tested that this one does not. Each case has tests that carry
its number (\`corner case 9: ...\`), under \`test/corner\` and \`test/e2e\`:

- **engine**: the rules as they read and as they are compiled agree on the verdict; of requests and names, the proxy's parts;
- **programs**: the BPF programs that ship, on single packets by BPF_PROG_TEST_RUN, for both families;
- **live**: real traffic through real agents and datapaths, in network namespaces: two nodes, their pods, a machine outside.

Made from \`test/corner/cases.ts\` by \`UPDATE_GOLDEN=1 node --test test/corner/complete.test.ts\`.

| case | is about | shown by |
|---|---|---|
${rows.join('\n')}
`;
}

describe('the corner cases of policy', () => {
  it(`are ${CASES}, in their order`, () => {
    const numbers = CORNER_CASES.map(({ number }) => number);
    assert.deepEqual(
      numbers,
      Array.from({ length: CASES }, (_, i) => i + 1),
    );
  });

  it('all have the kinds of tests that the table says, and no others', () => {
    const kindsOf = (number: number): readonly CaseKind[] =>
      [...new Set(FOUND.filter((test) => test.number === number).map(({ kind }) => kind))].sort();
    for (const { number, kinds } of CORNER_CASES) {
      assert.ok(kinds.length > 0, `case ${number}`);
      assert.deepEqual(kindsOf(number), [...kinds].sort(), `case ${number}`);
    }
  });

  it('are all shown by tests that npm test runs: those of test/e2e are more of them', () => {
    for (const { number, kinds } of CORNER_CASES) {
      const own = FOUND.filter((test) => test.number === number && !test.file.startsWith('test/e2e/'));
      assert.deepEqual([...new Set(own.map(({ kind }) => kind))].sort(), [...kinds].sort(), `case ${number}`);
    }
  });

  it('are tested by tests that say what they expect', () => {
    assert.ok(FOUND.length >= CASES);
    for (const { number, file, text } of FOUND) assert.match(text, /\bassert/, `case ${number} in ${file}`);
  });

  it('have no test that is left out', () => {
    for (const file of new Set(FOUND.map((test) => test.file)))
      assert.doesNotMatch(
        source(file),
        /\b(it|describe)\.(skip|todo|only)\b|\bt\.(skip|todo)\(|\btodo:/,
        file,
      );
  });

  it('are live only where the tests make a lab of network namespaces and are run', () => {
    const live = [...new Set(FOUND.filter(({ kind }) => kind === 'live').map(({ file }) => file))];
    assert.ok(live.some((file) => file.startsWith('test/corner/live/')));
    const stage = source(STAGE);
    assert.match(source('test/corner/live/stage.ts'), /new LiveLab\(/);
    assert.match(source('test/support/live-lab.ts'), /startTestLab\(/);
    for (const file of live.filter((name) => name.startsWith('test/e2e/')))
      assert.match(source(file), /startTestLab\(/, file);
    for (const file of live.filter((name) => name.startsWith('test/corner/'))) {
      const defined = [...source(file).matchAll(/^export function (define\w+)/gm)].map(
        ([, name = '']) => name,
      );
      assert.ok(defined.length > 0, file);
      for (const name of defined)
        assert.match(stage, new RegExp(`^ {2}\\w+: ${name},$`, 'm'), `${name} of ${file} is not run`);
    }
  });

  it('are listed in docs/corner-cases.md as the table has them', () => {
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(LIST, listText());
    assert.equal(readFileSync(LIST, 'utf8'), listText());
  });
});
