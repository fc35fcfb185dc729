import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runChecked } from '../../src/base/run.ts';
import { inNetns } from '../../src/lab/host.ts';
import { NetnsLab } from '../support/netns.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import type { ModeOutcome } from './mode-child.ts';

const PROGRAMS = ['bpf', 'sys_admin', 'net_admin', 'perfmon'];
const RAW_SOCKETS = ['net_raw'];
const BOTH = ['127.0.0.1', '::1'];

describe('the mode that a probe engine chooses', { skip: bpfOrSkip() }, () => {
  const lab = new NetnsLab('m');
  let netns = '';

  before(async () => {
    netns = await lab.namespace('a');
  });
  after(() => lab.cleanUp());

  /** @param groups whose datagram sockets may send echoes, @param lost capabilities */
  async function chosen(groups: string, lost: readonly string[] = []): Promise<ModeOutcome> {
    await lab.sysctl(netns, `net.ipv4.ping_group_range=${groups}`);
    const bounds = lost.length === 0 ? [] : [`--bounding-set=${lost.map((name) => `-${name}`).join(',')}`];
    const child = [process.execPath, join(import.meta.dirname, 'mode-child.ts')];
    const said = await runChecked(inNetns(netns, ['setpriv', ...bounds, ...child]), { timeoutMs: 60_000 });
    return JSON.parse(said) as ModeOutcome;
  }

  const NOBODY = '1 0';
  const EVERYBODY = '0 2147483647';

  it('is programs on the devices where they may be loaded', async () => {
    const { mode, programs, timed, failure } = await chosen(NOBODY);
    const bpf = { ready: true, mode: 'bpf' };
    assert.deepEqual(
      { mode, programs, failure },
      { mode: { 4: bpf, 6: bpf }, programs: bpf, failure: undefined },
    );
    assert.deepEqual(timed, BOTH);
  });

  it('is raw sockets where programs may not be loaded, and says why', async () => {
    const { mode, programs, timed } = await chosen(NOBODY, PROGRAMS);
    assert.ok(!programs.ready);
    assert.match(programs.reason, /EPERM|not permitted/);
    const raw = { ready: true, mode: 'raw', note: programs.reason };
    assert.deepEqual(mode, { 4: raw, 6: raw });
    assert.deepEqual(timed, BOTH);
  });

  it('is datagram sockets where raw ones may not be opened either', async () => {
    const { mode, programs, timed } = await chosen(EVERYBODY, [...PROGRAMS, ...RAW_SOCKETS]);
    assert.ok(!programs.ready);
    const datagram = { ready: true, mode: 'datagram', note: programs.reason };
    assert.deepEqual(mode, { 4: datagram, 6: datagram });
    assert.deepEqual(timed, BOTH);
  });

  it('is raw sockets, for their ports, where datagram ones would do too', async () => {
    const { mode } = await chosen(EVERYBODY, PROGRAMS);
    assert.deepEqual(
      [mode[4], mode[6]].map((ready) => ready.ready && ready.mode),
      ['raw', 'raw'],
    );
  });

  it('is none where no socket may send echoes, and says why', async () => {
    const { mode, timed, failure } = await chosen(NOBODY, [...PROGRAMS, ...RAW_SOCKETS]);
    const denied = { ready: false, reason: 'EACCES' };
    assert.deepEqual(mode, { 4: denied, 6: denied });
    assert.deepEqual(timed, []);
    assert.equal(failure?.code, 'NOT_PERMITTED');
    assert.match(failure.message, /^cannot open datagram sockets for probes: IPv4: EACCES, IPv6: EACCES$/);
  });
});
