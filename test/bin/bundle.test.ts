import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compiledScript } from '../../bin/load-compiled.ts';
import { loadRegistry } from '../../bin/registry.ts';
import { run } from '../../src/base/run.ts';
import { startProcess } from '../support/process.ts';

const root = resolve(import.meta.dirname, '..', '..');
const dist = join(root, 'dist');
const main = join(dist, 'main.cjs');
const folder = mkdtempSync(join(tmpdir(), 'ciliate-bundle-'));
after(() => rmSync(folder, { recursive: true, force: true }));
before(() => {
  execFileSync('make', ['-s', 'bundle'], { cwd: root });
});

describe('the bundle', () => {
  it('has every command in its manifest', () => {
    const { commands } = JSON.parse(readFileSync(join(dist, 'oclif.manifest.json'), 'utf8')) as {
      readonly commands: Readonly<Record<string, unknown>>;
    };
    assert.deepEqual(Object.keys(commands).sort(), [...loadRegistry().keys()].sort());
  });

  it('loads every command: --help exits 0, and a wrong flag is told by the command itself', async () => {
    for (const id of loadRegistry().keys()) {
      const words = id.split(':');
      const help = await run([process.execPath, main, ...words, '--help'], { timeoutMs: 20_000 });
      assert.equal(help.exitCode, 0, `${id}: ${help.stderr}`);
      assert.match(help.stdout, /USAGE/, id);
      const wrong = await run([process.execPath, main, ...words, '--no-such-flag'], { timeoutMs: 20_000 });
      assert.equal(wrong.exitCode, 2, `${id}: ${wrong.stderr}`);
      assert.match(wrong.stderr, /^Error: /m, id);
    }
  });

  it('brings code that this V8 has compiled', () => {
    assert.equal(compiledScript(join(dist, 'run.cjs')).cachedDataRejected, false);
  });

  it('runs the health agent until SIGTERM', async (t) => {
    const nodes = join(folder, 'nodes.json');
    writeFileSync(nodes, '[{"name":"n1","ipv4":"127.0.0.1"}]');
    const words = ['health-agent', '--nodes', nodes, '--node-name', 'n1', '--state-dir', folder];
    const started = await startProcess([process.execPath, main, ...words, '--log-stdout']);
    t.after(() => started.stop('SIGKILL'));
    await started.waitForLine(/health agent is up/);
    const status = await run([process.execPath, main, 'health', 'status', '--state-dir', folder], {
      timeoutMs: 20_000,
    });
    assert.match(status.stdout, /^Cluster health: /m, status.stderr);
    assert.equal(await started.stop(), 0);
  });
});
