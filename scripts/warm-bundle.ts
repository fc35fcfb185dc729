/**
 * Runs the commands that people run often, in this process, against servers that answer next to nothing, and leaves what
 * V8 has compiled by then beside the bundle. Usage: node scripts/warm-bundle.ts FOLDER, the bundle's.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { compiledFile, compiledScript, runCompiled } from '../bin/load-compiled.ts';

const COMMANDS = [
  'status -o json',
  'status',
  'status --brief',
  'endpoint list',
  'identity list',
  'policy get',
  'ip list',
  'node list',
  'health status',
  'config',
  'nothing',
];
const LISTS = /\/(?:endpoint|identity|ip)(?:\?|$)/;

const file = resolve(process.argv[2] ?? 'dist', 'run.cjs');
const state = mkdtempSync(join(tmpdir(), 'ciliate-warm-'));
const servers = ['ciliate.sock', 'health.sock'].map((name) =>
  createServer(({ url = '' }, response) => {
    response.end(LISTS.test(url) ? '[{"id":1,"cidr":"10.0.0.1/32","status":{"state":"ready"}}]' : '{}');
  }).listen(join(state, name)),
);
try {
  await Promise.all(servers.map((server) => new Promise((done) => server.once('listening', done))));
  const script = compiledScript(file);
  const { runCli } = runCompiled<typeof import('../bin/run.ts')>(script, file);
  for (const words of COMMANDS) await runCli([...words.split(' '), '--state-dir', state]);
  writeFileSync(compiledFile(file), script.createCachedData());
} finally {
  for (const server of servers) server.close().closeAllConnections();
  rmSync(state, { recursive: true, force: true });
  process.exitCode = 0;
}
