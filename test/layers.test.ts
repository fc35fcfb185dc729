import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'node:test';
import ts from 'typescript';

/**
 * The parts, from the lowest layer up. A part imports its own files and parts of lower layers. `below` names siblings
 * that a part may build on all the same; each such name is a decision, with its reason beside it.
 */
interface Part {
  readonly folder: string;
  readonly layer: number;
  readonly below?: readonly string[];
}

const PARTS: readonly Part[] = [
  { folder: 'src/base', layer: 0 },
  // The typed facade of the addon throws the project's errors and finds its file as everybody does.
  { folder: 'bpf', layer: 0, below: ['src/base'] },
  { folder: 'src/model', layer: 1 },
  // The contract speaks of the model's labels and identities.
  { folder: 'src/api', layer: 1, below: ['src/model'] },
  { folder: 'src/kube', layer: 1, below: ['src/model'] },
  // What is printed are objects of the contract.
  { folder: 'src/view', layer: 1, below: ['src/model', 'src/api'] },
  { folder: 'probes', layer: 1 },
  { folder: 'src/policy', layer: 2 },
  { folder: 'src/datapath', layer: 2 },
  { folder: 'src/store', layer: 2 },
  { folder: 'src/agent', layer: 3 },
  { folder: 'src/health', layer: 3 },
  { folder: 'src/proxy', layer: 3 },
  { folder: 'src/monitor', layer: 3 },
  { folder: 'src/k8s', layer: 3 },
  { folder: 'bugtool', layer: 3 },
  { folder: 'src/wiring', layer: 4 },
  { folder: 'src/lab', layer: 5 },
  // `ciliate lab` and `ciliate demo` are thin words for what the lab does.
  { folder: 'commands', layer: 5, below: ['src/lab'] },
  { folder: 'bin', layer: 5, below: ['commands'] },
  // Runs in a browser: it takes pure parts only, and the bundler takes it.
  { folder: 'web', layer: 2 },
  { folder: 'scripts', layer: 6 },
  { folder: 'test', layer: 6, below: ['scripts'] },
  // Programs are measured in the rigs in which they are tested.
  { folder: 'bench', layer: 6, below: ['test'] },
];

/** The pure parts: no I/O, no clock, no environment. `node:net` for isIP and `node:crypto` for digests are functions. */
const PURE = ['src/model', 'src/policy'];
const PURE_BUILTINS = new Set(['node:net', 'node:crypto']);
const IMPURE =
  /\bprocess\.(?:env|hrtime|stdout|stderr|cwd)\b|\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bperformance\.now\(/;

const root = resolve(import.meta.dirname, '..');

interface Import {
  readonly from: string;
  /** Path from the root for one of our files, else the specifier as written. */
  readonly to: string;
  readonly own: boolean;
}

function importsOf(file: string): Import[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), 'utf8'), true, true);
  return importedFiles.map(({ fileName }) => {
    const own = fileName.startsWith('.');
    return { from: file, to: own ? relative(root, resolve(root, dirname(file), fileName)) : fileName, own };
  });
}

function partOf(file: string): Part | undefined {
  return PARTS.find(({ folder }) => file.startsWith(`${folder}/`));
}

function breach({ from, to }: Import): string | undefined {
  const importer = partOf(from);
  const imported = partOf(to);
  if (importer === undefined || imported === undefined) return `${from} imports ${to}, which is in no layer`;
  if (importer === imported || imported.layer < importer.layer) return undefined;
  if (importer.below?.includes(imported.folder) === true) return undefined;
  const how = imported.layer === importer.layer ? 'a sibling' : 'a higher layer';
  return `${from} (L${importer.layer}) imports ${to} of ${how} (L${imported.layer})`;
}

/** The files of one cycle, first again at the end; undefined when the graph has none. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    const seen = path.indexOf(file);
    if (seen >= 0) return [...path.slice(seen), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next, [...path, file]);
      if (cycle !== undefined) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

const folders = [...new Set(PARTS.map(({ folder }) => folder.split('/')[0] ?? folder))];
const files = globSync(
  folders.map((folder) => `${folder}/**/*.ts`),
  { cwd: root },
).filter((file) => !file.includes('node_modules'));
const imports = files.flatMap(importsOf);
const ownImports = imports.filter(({ own, to }) => own && !to.endsWith('package.json'));

describe('the layers', () => {
  it('hold every source file', () => {
    assert.ok(files.length > 20, `only ${files.length} files found under ${root}`);
    assert.deepEqual(
      files.filter((file) => partOf(file) === undefined),
      [],
    );
  });

  it('import only downwards, and no siblings', () => {
    assert.deepEqual(
      ownImports.map(breach).filter((text) => text !== undefined),
      [],
    );
  });

  it('have no cycle of files, types included', () => {
    const graph = new Map(files.map((file) => [file, [] as string[]]));
    for (const { from, to } of ownImports) graph.get(from)?.push(to);
    assert.equal(findCycle(graph)?.join(' -> '), undefined);
  });

  it('import only files that exist, by their whole name', () => {
    const missing = ownImports.filter(({ to }) => !existsSync(join(root, to)));
    assert.deepEqual(
      missing.map(({ from, to }) => `${from} imports ${to}`),
      [],
    );
  });

  it('keep I/O, clock and environment out of the pure parts', () => {
    const pure = files.filter((file) => PURE.some((folder) => file.startsWith(`${folder}/`)));
    const builtins = imports.filter(({ from, to }) => pure.includes(from) && to.startsWith('node:'));
    const wrong = builtins
      .filter(({ to }) => !PURE_BUILTINS.has(to))
      .map(({ from, to }) => `${from} imports ${to}`);
    const impure = pure.filter((file) => IMPURE.test(readFileSync(join(root, file), 'utf8')));
    assert.deepEqual([...wrong, ...impure], []);
  });

  it('load native addons in one place', () => {
    const loaders = files.filter((file) => /createRequire\(/.test(readFileSync(join(root, file), 'utf8')));
    // The second runs the bundle, which is CommonJS; addons still come through the first.
    const allowed = ['bin/load-compiled.ts', 'src/base/assets.ts'];
    assert.deepEqual(
      loaders.filter((file) => !/^(test|scripts)\//.test(file)),
      allowed,
    );
  });
});

describe('the check of the layers', () => {
  it('sees an import of a sibling and of a higher layer', () => {
    const sibling = breach({ from: 'src/store/x.ts', to: 'src/policy/y.ts', own: true });
    const higher = breach({ from: 'src/model/x.ts', to: 'src/agent/y.ts', own: true });
    assert.match(sibling ?? '', /a sibling/);
    assert.match(higher ?? '', /a higher layer/);
    assert.equal(breach({ from: 'src/agent/x.ts', to: 'src/policy/y.ts', own: true }), undefined);
  });

  it('sees a cycle', () => {
    const graph = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['b']],
    ]);
    assert.deepEqual(findCycle(graph), ['b', 'c', 'b']);
  });
});
