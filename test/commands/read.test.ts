import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { golden } from '../view/golden.ts';
import { cli, FakeNode, type Outcome, recordedHandler } from './cli.ts';

const node = new FakeNode();
const launcher = resolve(import.meta.dirname, '..', '..', 'bin', 'ciliate');

function run(words: string, extra: readonly string[] = []): Promise<Outcome> {
  return cli([...words.split(' '), '--state-dir', node.stateDir, ...extra]);
}

before(async () => {
  await node.serve('ciliate.sock', recordedHandler('agent-responses.json'));
  await node.serve('health.sock', recordedHandler('health-responses.json'));
});
after(() => node.close());

/** Words -> recorded output that they must print to the byte, through the real client. */
const GOLDEN: Readonly<Record<string, string>> = {
  'endpoint list --compat 1.19': 'v1.19.4/endpoint_list.txt',
  'endpoint list --no-headers --compat 1.19': 'v1.19.4/endpoint_list_--no-headers.txt',
  'endpoint list --compat 2018': 'v2018/endpoint_list.txt',
  'endpoint log 5 --compat 1.19': 'v1.19.4/endpoint_log_5.txt',
  'endpoint config 5 --compat 1.19': 'v1.19.4/endpoint_config_5.txt',
  'identity list --compat 1.19': 'v1.19.4/identity_list.txt',
  'ip list --compat 1.19': 'v1.19.4/ip_list.txt',
  'ip list -n --compat 1.19': 'v1.19.4/ip_list_-n.txt',
  'service list --compat 1.19': 'v1.19.4/service_list.txt',
  'service list --compat 2018': 'v2018/service_list.txt',
  'node list --compat 1.19': 'v1.19.4/node_list.txt',
  'map list --compat 1.19': 'v1.19.4/map_list.txt',
  'map get cilium_lxc --compat 1.19': 'v1.19.4/map_get_cilium_lxc.txt',
  'policy get --compat 1.19': 'v1.19.4/policy_get.txt',
  'policy selectors --compat 1.19': 'v1.19.4/policy_selectors.txt',
  'fqdn cache list --compat 1.19': 'v1.19.4/fqdn_cache_list.txt',
  'config --compat 1.19': 'v1.19.4/config.txt',
  'config --compat 2018': 'v2018/config.txt',
  'health status --compat 1.19': 'v1.19.4/health_status.txt',
  'health status --compat 2018': 'v2018/health_status.txt',
  'health get --compat 1.19': 'v1.19.4/health_get.txt',
  'health get --compat 2018': 'v2018/health_get.txt',
};

describe('read commands against recorded answers', () => {
  for (const [words, name] of Object.entries(GOLDEN)) {
    it(`ciliate ${words} prints ${name}`, async () => {
      assert.deepEqual(await run(words), { stdout: golden(name), stderr: '', code: 0 });
    });
  }

  it('status names the agent, the monitor and the cluster, and an unknown node is not healthy', async () => {
    const { stdout, stderr, code } = await run('status');
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.match(stdout, /^Cilium: +Ok {3}1\.19\.4/m);
    assert.match(stdout, /^Cluster health: +0\/2 reachable, 1 unknown/m);
    assert.match(stdout, /^ {2}default\/n2 +192\.168\.1\.2 +0\/1 \(1 unknown\)/m);
    assert.doesNotMatch(stdout, / $/m);
  });

  it('status --brief exits 1 and names the first problem on stderr', async () => {
    const stderr = golden('v1.19.4/status_--brief.txt');
    assert.deepEqual(await run('status --brief'), { stdout: '', stderr, code: 1 });
    assert.equal(node.seen.at(-1)?.headers.brief, 'true');
    const json = await run('status --brief', ['-o', 'json']);
    assert.equal(json.code, 1);
    assert.equal(typeof JSON.parse(json.stdout).cilium.state, 'string');
  });

  it('health status exits 1 while a path is unknown or unreachable', async () => {
    const { stdout, code } = await run('health status --verbose');
    assert.equal(code, 1);
    assert.match(stdout, /HTTP to agent: +Connection timed out/);
    assert.match(stdout, /ICMP to stack: +unknown: not probed yet/);
  });

  it('-o json prints the answer of the agent', async () => {
    const { stdout, code } = await run('endpoint list', ['-o', 'json']);
    assert.equal(code, 0);
    assert.equal((JSON.parse(stdout) as unknown[]).length, 14);
  });

  it('-o yaml and -o jsonpath work too', async () => {
    assert.equal((await run('policy get', ['-o', 'jsonpath={.revision}'])).stdout, '71\n');
    assert.match((await run('policy get', ['-o', 'yaml'])).stdout, /^revision: 71\npolicy: \|-\n/);
  });

  it('takes global flags before the words of the command', async () => {
    const { stdout, code } = await cli([
      '--state-dir',
      node.stateDir,
      '-o',
      'json',
      'identity',
      'get',
      '9270',
    ]);
    assert.equal(code, 0);
    assert.equal((JSON.parse(stdout) as { id: number }[])[0]?.id, 9270);
  });

  it('finds the agent by -H and by CILIUM_SOCK', async () => {
    const host = `unix://${join(node.stateDir, 'ciliate.sock')}`;
    assert.equal((await cli(['policy', 'get', '-H', host])).code, 0);
    assert.equal((await cli(['policy', 'get'], { env: { CILIUM_SOCK: host } })).code, 0);
  });

  it('runs through a symbolic link with another name, from any folder', async () => {
    const link = join(node.stateDir, 'cilium');
    symlinkSync(launcher, link);
    const outcome = await cli(['policy', 'get', '--state-dir', node.stateDir], { launcher: link, cwd: '/' });
    assert.deepEqual(outcome, { stdout: golden('v2018/policy_get.txt'), stderr: '', code: 0 });
  });

  it('prints versions without an agent, and says that there is none', async () => {
    const { stdout, stderr, code } = await cli(['version', '--state-dir', '/nonexistent']);
    assert.equal(code, 0);
    assert.match(stdout, /^Client: \d+\.\d+\.\d+/);
    assert.match(stderr, /^Daemon: cannot reach the agent/);
  });
});
