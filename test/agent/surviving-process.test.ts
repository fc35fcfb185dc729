import assert from 'node:assert/strict';
import {
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { processRef, wordsOf } from '../../src/agent/process-ref.ts';
import { type ProcessSettings, SurvivingProcess } from '../../src/agent/surviving-process.ts';
import { silentLog } from '../../src/base/log.ts';
import { until } from './agent-fixture.ts';

const root = mkdtempSync(join(tmpdir(), 'ciliate-process-'));
after(() => rmSync(root, { recursive: true, force: true }));
let number = 0;

/** Stands for the process: writes its arguments down and stays, unless told to end. */
const PROGRAM = `
const fs = require('node:fs');
fs.appendFileSync(process.argv[1], process.pid + ' ' + process.argv.slice(2).join(' ') + '\\n');
if (process.argv.includes('die')) process.exit(1);
setInterval(() => undefined, 1000);
`;

/** Whether a process runs one of whose words begins with `path`. */
function runsWith(path: string): boolean {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && processRef(Number(name)) !== undefined)
    .some((pid) => wordsOf(Number(pid)).some((word) => word.startsWith(`${path}/`)));
}

describe('SurvivingProcess', () => {
  let folder: string;
  let current: SurvivingProcess[];

  beforeEach(() => {
    folder = mkdtempSync(join(root, `${number++}-`));
    current = [];
  });
  afterEach(async () => {
    for (const one of current) await one.stop();
  });

  const make = (onExit = (): unknown => undefined): SurvivingProcess => {
    const options = {
      name: 'health',
      command: [process.execPath, '-e', PROGRAM, '--', join(folder, 'calls')],
      startedFile: join(folder, 'started.json'),
      outputFile: join(folder, 'out'),
    };
    const made = new SurvivingProcess(options, silentLog, onExit);
    current.push(made);
    return made;
  };
  const settings = (args: readonly string[], place = 'p'): ProcessSettings => ({
    args,
    place,
    open: () => [],
  });
  const started = (): { pid: number } => JSON.parse(readFileSync(join(folder, 'started.json'), 'utf8'));
  const calls = (): string[] => {
    const file = join(folder, 'calls');
    // Whole lines only: the file is there before what is written to it.
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  };

  it('is started once, and found again by a later agent', async () => {
    await make().ensure(settings(['a']));
    const { pid } = started();
    await make().ensure(settings(['a']));
    assert.equal(started().pid, pid);
    await until('it runs', () => calls().length === 1);
    assert.equal(calls()[0], `${pid} a`);
  });

  it('is replaced when its settings or its place changed', async () => {
    await make().ensure(settings(['a']));
    const first = started().pid;
    await make().ensure(settings(['b']));
    const second = started().pid;
    assert.notEqual(second, first);
    await make().ensure(settings(['b'], 'elsewhere'));
    assert.notEqual(started().pid, second);
    await until('the first is gone', () => processRef(first) === undefined);
  });

  it('is started again at once after a first death; a series of them is told', async () => {
    const one = make();
    await one.ensure(settings(['die']));
    await until('it died', () => !one.isRunning);
    await one.ensure(settings(['die']));
    await until('it died again', () => !one.isRunning);
    await assert.rejects(one.ensure(settings(['die'])), { code: 'HEALTH_PROCESS', message: /2 times/ });
    await one.ensure(settings(['stay']));
    assert.ok(one.isRunning);
  });

  it('is ended when no record of it can be kept, and that is no reason to start the next at once', async () => {
    mkdirSync(join(folder, 'started.json.new'));
    let exits = 0;
    const one = make(() => exits++);
    await assert.rejects(one.ensure(settings(['a'])), { code: 'STATE_UNWRITABLE' });
    assert.equal(one.isRunning, false);
    await until('it is gone', () => !runsWith(folder));
    rmSync(join(folder, 'started.json.new'), { recursive: true });
    await one.ensure(settings(['b']));
    process.kill(started().pid, 'SIGKILL');
    await until('the end of the second is told', () => exits > 0);
    assert.equal(exits, 1);
  });

  it('is never taken for another process that has its pid now', async () => {
    writeFileSync(
      join(folder, 'started.json'),
      JSON.stringify({ pid: process.pid, startTicks: '1', settings: JSON.stringify([['a'], 'p']) }),
    );
    await make().ensure(settings(['a']));
    assert.notEqual(started().pid, process.pid);
  });

  it('survives a record that is no JSON', async () => {
    writeFileSync(join(folder, 'started.json'), '{"pid":');
    await make().ensure(settings(['a']));
    await until('it runs', () => calls().length === 1);
  });

  it('gets the listening sockets as descriptors, and none of them stays here', async () => {
    const listener = openSync('/dev/null', 'r');
    await make().ensure({
      ...settings(['a']),
      open: () => [{ fd: listener, words: (fd) => ['--listen-fd', String(fd)] }],
    });
    await until('it runs', () => calls()[0]?.endsWith('a --listen-fd 3') === true);
    assert.throws(() => fstatSync(listener), { code: 'EBADF' });
  });
});
