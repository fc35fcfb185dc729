import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { answerJson, cli, FakeNode, type Outcome } from './cli.ts';

const SPEC = {
  id: 5,
  'frontend-address': { ip: '10.96.0.10', port: 80, protocol: 'TCP', scope: 'external' },
  'backend-addresses': [{ ip: '10.0.0.1', port: 8080, protocol: 'TCP', state: 'active' }],
  flags: { type: 'ClusterIP', name: 'web', namespace: 'default' },
};
const SERVICE = { spec: SPEC, status: { realized: SPEC } };
const LIST = `ID   Frontend           Service Type   Name          Backend
5    10.96.0.10:80/TCP  ClusterIP      default/web   1 => 10.0.0.1:8080/TCP (active)
`;

describe('service', () => {
  const node = new FakeNode();
  const run = (...words: readonly string[]): Promise<Outcome> =>
    cli(['service', ...words, '--state-dir', node.stateDir]);
  const sent = (): unknown => JSON.parse(node.seen.at(-1)?.body ?? '');

  before(async () => {
    await node.serve('ciliate.sock', ({ method, path }, response) => {
      if (path === '/v1/service') return answerJson(response, 200, [SERVICE, { spec: { id: 9 } }]);
      if (path === '/v1/service/9')
        return answerJson(response, 409, 'service 9 follows from the Kubernetes service a/b');
      if (path === '/v1/service/404') return answerJson(response, 404, 'no service 404');
      return answerJson(response, method === 'PUT' ? 201 : 200, SERVICE);
    });
  });
  after(() => node.close());

  it('list shows each with its backends', async () => {
    const { stdout, stderr, code } = await run('list');
    assert.deepEqual([stderr, code], ['', 0]);
    assert.equal(stdout.replace(/ +/g, ' ').startsWith(LIST.replace(/ +/g, ' ')), true, stdout);
    assert.doesNotMatch(stdout, / $/m);
    const json = await run('list', '-o', 'json');
    assert.deepEqual((JSON.parse(json.stdout) as unknown[])[0], SERVICE);
  });

  it('get shows one, and exits 1 where there is none', async () => {
    assert.deepEqual(JSON.parse((await run('get', '5')).stdout), SERVICE);
    assert.equal((await run('get', '404')).code, 1);
    for (const word of ['0', '65536', 'web']) assert.equal((await run('get', word)).code, 2, word);
  });

  it('update sends what the flags say, to the id or for the agent to find one', async () => {
    const backends = ['--backends', '10.0.0.1:8080,10.0.0.2:8080', '--backends', '10.0.0.3:9/udp'];
    const states = ['--states', 'active,terminating,maintenance'];
    const more = ['--type', 'NodePort', '--name', 'default/web', '--affinity', '1m', '--id', '7'];
    const { stdout, stderr, code } = await run(
      'update',
      '--frontend',
      '10.96.0.10:53/udp',
      ...backends,
      ...states,
      ...more,
    );
    assert.deepEqual([stderr, code], ['', 0]);
    assert.match(stdout, /10\.96\.0\.10:80\/TCP/);
    assert.equal(node.seen.at(-1)?.path, '/v1/service/7');
    assert.deepEqual(sent(), {
      id: 7,
      'frontend-address': { ip: '10.96.0.10', port: 53, protocol: 'UDP' },
      'backend-addresses': [
        { ip: '10.0.0.1', port: 8080, state: 'active' },
        { ip: '10.0.0.2', port: 8080, state: 'terminating' },
        { ip: '10.0.0.3', port: 9, protocol: 'UDP', state: 'maintenance' },
      ],
      flags: { type: 'NodePort', namespace: 'default', name: 'web', affinityTimeout: 60 },
    });
    await run('update', '--frontend', '[fd00::1]:80');
    assert.equal(node.seen.at(-1)?.path, '/v1/service/0');
    assert.deepEqual(sent(), {
      'frontend-address': { ip: 'fd00::1', port: 80, protocol: 'TCP' },
      'backend-addresses': [],
      flags: {},
    });
  });

  it('update refuses words that are no address, id or state with 2, and asks nobody', async () => {
    const asked = node.seen.length;
    const frontend = ['--frontend', '10.96.0.10:80'];
    for (const words of [
      [],
      ['--frontend', '10.96.0.10'],
      ['--frontend', '10.96.0.10:0'],
      ['--frontend', '10.96.0.10:65536'],
      ['--frontend', 'fd00::1:80'],
      ['--frontend', 'web:80'],
      [...frontend, '--backends', '10.0.0.1'],
      [...frontend, '--id', '0'],
      [...frontend, '--type', 'Other'],
      [...frontend, '--states', 'active'],
      [...frontend, '--affinity', '400ms'],
      [...frontend, '--affinity', '1.5s'],
      [...frontend, '--backends', '10.0.0.1:1', '--states', 'gone'],
    ])
      assert.equal((await run('update', ...words)).code, 2, words.join(' '));
    assert.equal(node.seen.length, asked);
  });

  it('delete takes one or all, and leaves with 5 what follows from Kubernetes', async () => {
    assert.equal((await run('delete', '5')).stdout, 'Service 5 deleted\n');
    assert.deepEqual([node.seen.at(-1)?.method, node.seen.at(-1)?.path], ['DELETE', '/v1/service/5']);
    assert.equal((await run('delete', '404')).code, 1);
    assert.equal((await run('delete', '9')).code, 2);
    const { stdout, code } = await run('delete', '--all');
    assert.match(stdout, /^1 services deleted\n.*service 9 follows from the Kubernetes service a\/b\n$/);
    assert.equal(code, 5);
    for (const words of [[], ['5', '--all']]) assert.equal((await run('delete', ...words)).code, 2);
  });
});
