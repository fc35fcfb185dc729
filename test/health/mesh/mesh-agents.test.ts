import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PathStates, PROBE_KINDS } from '../../../src/model/health.ts';
import { NetnsLab } from '../../support/netns.ts';
import { rootOrSkip } from '../../support/privilege.ts';
import { eventually, type StartedProcess, startProcess } from '../../support/process.ts';

const CHILD = join(import.meta.dirname, 'matrix-child.ts');
const NAMES = ['n1', 'n2', 'n3', 'n4'] as const;
type Name = (typeof NAMES)[number];
const HTTP = PROBE_KINDS.findIndex(({ name }) => name === 'host-host/http');
const WAIT = { timeoutMs: 60_000, everyMs: 100 };

interface ShownRow {
  readonly incarnation: number;
  readonly version: number;
  readonly ageMs: number;
  readonly cells: Readonly<Record<string, number>>;
}

const addressOf = (name: Name): string => `10.8.0.${name.slice(1)}`;

describe('health agents of four nodes', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('m');
  const folder = mkdtempSync(join(tmpdir(), 'mesh-'));
  const running = new Map<Name, StartedProcess>();
  const nodesFile = join(folder, 'nodes.json');

  before(async () => {
    const bridge = await lab.namespace('br');
    await lab.ip('-n', bridge, 'link', 'add', 'br0', 'type', 'bridge');
    await lab.ip('-n', bridge, 'link', 'set', 'br0', 'up');
    for (const name of NAMES) {
      const netns = await lab.namespace(name);
      const inside = { name: 'eth0', netns, addresses: [`${addressOf(name)}/24`] };
      await lab.veth(inside, { name: `p${name}`, netns: bridge });
      await lab.ip('-n', bridge, 'link', 'set', `p${name}`, 'master', 'br0');
    }
    writeFileSync(nodesFile, JSON.stringify(NAMES.map((name) => ({ name, ipv4: addressOf(name) }))));
  });

  after(async () => {
    for (const child of running.values()) await child.stop();
    await lab.cleanUp();
    rmSync(folder, { recursive: true, force: true });
  });

  async function start(name: Name): Promise<void> {
    const path = lab.path(`${lab.prefix}-${name}`);
    const words = [name, addressOf(name), nodesFile, join(folder, name)];
    const child = await startProcess(['nsenter', `--net=${path}`, process.execPath, CHILD, ...words]);
    running.set(name, child);
  }

  /** What the agent of a node showed last. */
  function matrixOf(name: Name): Readonly<Record<string, ShownRow>> {
    const lines = (running.get(name)?.output() ?? '').split('\n').filter((line) => line.startsWith('{'));
    // The last line may still be on its way.
    const whole = lines.at(-2);
    return whole === undefined ? {} : (JSON.parse(whole) as Record<string, ShownRow>);
  }

  const output = (): string => [...running.values()].map((child) => child.output().slice(-500)).join('\n');

  function httpState(matrix: Readonly<Record<string, ShownRow>>, row: Name, peer: Name): number {
    return ((matrix[row]?.cells[peer] ?? 0) >>> (2 * HTTP)) & 3;
  }

  async function all(what: string, names: readonly Name[], holds: (name: Name) => boolean): Promise<void> {
    await eventually(what, () => names.every(holds) || undefined, WAIT).catch((cause: unknown) => {
      throw new Error(`${what}; the agents wrote\n${output()}`, { cause });
    });
  }

  it('hold the rows of all, keep that of one that dies and let it grow old, and take its next one', async () => {
    for (const name of NAMES) await start(name);
    await all('everybody has all rows', NAMES, (name) => {
      const matrix = matrixOf(name);
      return NAMES.every((row) =>
        NAMES.every((peer) => row === peer || httpState(matrix, row, peer) === PathStates.reachable),
      );
    });

    const rest = NAMES.filter((name) => name !== 'n4');
    const before = matrixOf('n1').n4;
    await running.get('n4')?.stop('SIGKILL');
    await all('everybody knows from everybody that n4 does not answer', rest, (name) => {
      const matrix = matrixOf(name);
      return rest.every((row) => httpState(matrix, row, 'n4') === PathStates.unreachable);
    });
    await all('the last row of n4 stays and is told to be old', rest, (name) => {
      const row = matrixOf(name).n4;
      return row !== undefined && row.incarnation === before?.incarnation && row.ageMs > 8000;
    });
    for (const name of rest) {
      assert.equal(httpState(matrixOf(name), 'n4', 'n1'), PathStates.reachable);
      assert.ok((matrixOf(name).n1?.ageMs ?? Number.POSITIVE_INFINITY) < 30_000);
    }

    await start('n4');
    await all('the row of n4 is a new one and whole', NAMES, (name) => {
      const row = matrixOf(name).n4;
      if (row === undefined || row.incarnation <= (before?.incarnation ?? 0)) return false;
      return rest.every((peer) => httpState(matrixOf(name), 'n4', peer) === PathStates.reachable);
    });
    await all('everybody says that n4 answers again', NAMES, (name) =>
      rest.every((row) => httpState(matrixOf(name), row, 'n4') === PathStates.reachable),
    );
  });

  it('tell nothing to somebody who is no node', async () => {
    const bridge = `${lab.prefix}-br`;
    await lab.ip('-n', bridge, 'address', 'add', '10.8.0.99/24', 'dev', 'br0');
    const ask = [
      "const r = require('node:http').request({ host: '10.8.0.1', port: 4240, method: 'POST',",
      "path: '/v1beta/rows/differences', headers: { 'content-length': 0 } }, (a) => console.log(a.statusCode)); r.end();",
    ].join(' ');
    const { stdout } = await lab.exec(bridge, [process.execPath, '-e', ask]);
    assert.equal(stdout.trim(), '403');
  });
});
