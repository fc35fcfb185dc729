import { existsSync, readFileSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

type Wrapper = (
  exports: unknown,
  require: NodeJS.Require,
  module: unknown,
  filename: string,
  dirname: string,
) => void;

/** Where the compiled code of a file lies. */
export function compiledFile(file: string): string {
  return `${file}.compiled`;
}

/**
 * A CommonJS file as V8 runs it. Its compiled code is taken from beside it where there is any; another version of Node
 * refuses that and compiles anew.
 */
export function compiledScript(file: string): Script {
  const compiled = compiledFile(file);
  const cachedData = existsSync(compiled) ? readFileSync(compiled) : undefined;
  return new Script(Module.wrap(readFileSync(file, 'utf8')), { filename: file, cachedData });
}

/** Runs a CommonJS file. @returns its exports */
export function runCompiled<T>(script: Script, file: string): T {
  const module = { exports: {} };
  const wrapper = script.runInThisContext() as Wrapper;
  wrapper(module.exports, createRequire(file), module, file, dirname(file));
  return module.exports as T;
}
