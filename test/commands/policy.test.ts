import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { golden } from '../view/golden.ts';
import { answerJson, cli, FakeNode, type Outcome, recordedHandler } from './cli.ts';

const node = new FakeNode();
const recorded = recordedHandler('agent-responses.json');

const RULES = [
  {
    id: 3,
    name: 'default/rule1',
    endpoints: [7],
    connections: { allowed: 4, denied: 2, redirected: 1 },
    requests: { allowed: 9, denied: 8 },
  },
];

before(() =>
  node.serve('ciliate.sock', (seen, response) => {
    if (seen.path === '/v1/policy/rules') answerJson(response, 200, RULES);
    else if (seen.path === '/v1/fqdn/names') answerJson(response, 200, { FQDNPolicySelectors: [] });
    else if (seen.method === 'DELETE') answerJson(response, 200, {});
    else if (seen.path.startsWith('/v1/fqdn/cache?')) answerJson(response, 404, '"none"');
    else recorded(seen, response);
  }),
);
after(() => node.close());

function run(words: readonly string[]): Promise<Outcome> {
  return cli([...words, '--state-dir', node.stateDir]);
}

describe('policy rules', () => {
  it('shows what each rule decided, and -o json the answer itself', async () => {
    const { stdout, code } = await run(['policy', 'rules']);
    assert.equal(code, 0);
    assert.match(stdout.split('\n')[1] ?? '', /^3 +default\/rule1 +7 +4 +2 +1 +9 +8$/);
    const json = await run(['policy', 'rules', '-o', 'json']);
    assert.deepEqual(JSON.parse(json.stdout), RULES);
  });
});

describe('policy delete', () => {
  it('takes labels or objects, and never both', async () => {
    assert.equal((await run(['policy', 'delete', 'svc/shop/web', 'ccg/office'])).code, 0);
    assert.equal(node.seen.at(-1)?.path, '/v1/policy/objects');
    assert.deepEqual(JSON.parse(node.seen.at(-1)?.body ?? ''), ['svc/shop/web', 'ccg/office']);
    assert.equal((await run(['policy', 'delete', 'k8s:a/b=c'])).code, 0);
    assert.equal(node.seen.at(-1)?.path, '/v1/policy');
    const { code, stderr } = await run(['policy', 'delete', 'svc/web', 'k8s:a=b']);
    assert.equal(code, 2);
    assert.match(stderr, /labels or objects, not both/);
  });
});

describe('policy files', () => {
  it('are refused where they are no UTF-8, alone and in a folder', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ciliate-policy-'));
    try {
      const latin = Buffer.from(
        '- endpointSelector: {}\n  ingress: [{}]\n  description: caf\xe9\n',
        'latin1',
      );
      writeFileSync(join(folder, 'latin.yaml'), latin);
      for (const words of [[join(folder, 'latin.yaml')], [folder]]) {
        const { code, stderr } = await run(['policy', 'validate', ...words]);
        assert.equal(code, 2);
        assert.match(stderr, /latin\.yaml is no text in UTF-8/);
      }
      writeFileSync(join(folder, 'latin.yaml'), latin.toString('latin1'));
      assert.equal((await run(['policy', 'validate', folder])).code, 0);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('policy wait', () => {
  it('ends with 1 when the time is over, and says who is late and why', async () => {
    const late = new FakeNode();
    try {
      const log = [{ code: 'Failed', message: 'Regeneration failed: the rules contradict each other' }];
      const realized = { 'policy-revision': 3 };
      const endpoints = [
        { id: 9, status: { state: 'ready', policy: { realized: { 'policy-revision': 5 } }, log: [] } },
        { id: 7, status: { state: 'not-ready', policy: { realized }, log } },
      ];
      await late.serve('ciliate.sock', (_seen, response) => answerJson(response, 200, endpoints));
      const words = ['policy', 'wait', '5', '--timeout', '1ms', '--state-dir', late.stateDir];
      const { code, stderr } = await cli(words);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /endpoints 7 do not enforce revision 5 yet\n7: Regeneration failed: the rules contradict each other\n/,
      );
    } finally {
      await late.close();
    }
  });
});

describe('policy selectors', () => {
  it('takes the labels of rules with -v', async () => {
    const { stdout } = await run(['policy', 'selectors', '-v']);
    assert.match(stdout, /k8s:io\.cilium\.k8s\.policy\.name=rule1/);
    assert.notEqual(stdout, golden('v1.19.4/policy_selectors.txt'));
  });

  it('ends with 4 and the remedy when the agent is away', async () => {
    const { stderr, code } = await cli(['policy', 'selectors', '--state-dir', '/nonexistent']);
    assert.equal(code, 4);
    assert.match(stderr, /^Hint: is the agent running\?/m);
  });
});

describe('fqdn', () => {
  it('asks for what the filters say, and prints the header alone when nothing matches', async () => {
    const words = ['fqdn', 'cache', 'list', '-p', '*.org', '-s', 'lookup'];
    const { stdout, code } = await run(words);
    assert.equal(code, 0);
    assert.match(stdout, /^Endpoint +Source +FQDN +TTL +ExpirationTime +IPs\n$/);
    assert.equal(node.seen.at(-1)?.path, '/v1/fqdn/cache?matchpattern=*.org&source=lookup');
  });

  it('forgets only the names that are meant: a pattern or --all', async () => {
    assert.equal((await run(['fqdn', 'cache', 'clean'])).code, 2);
    assert.equal((await run(['fqdn', 'cache', 'clean', '--all', '-p', 'a.b'])).code, 2);
    assert.equal((await run(['fqdn', 'cache', 'clean', '-p', 'a.b'])).stdout, 'Forgot a.b\n');
    assert.equal(node.seen.at(-1)?.path, '/v1/fqdn/cache?matchpattern=a.b');
    assert.equal((await run(['fqdn', 'cache', 'clean', '-f'])).stdout, 'Forgot every name\n');
    assert.equal(node.seen.at(-1)?.path, '/v1/fqdn/cache');
  });

  it('lists no name when no rule asks for one', async () => {
    assert.deepEqual(await run(['fqdn', 'names']), { stdout: 'SELECTOR   REGEX\n', stderr: '', code: 0 });
  });

  it('refuses another source than lookup and connection with 2', async () => {
    assert.equal((await run(['fqdn', 'cache', 'list', '-s', 'dns'])).code, 2);
  });
});

describe('policy validate', () => {
  const POLICY = (name: string, value: string): string =>
    `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}}\nspec:\n  endpointSelector: {matchLabels: {org: ${value}}}\n  ingress: [{fromEntities: [cluster]}]\n`;
  const validate = (stdin: string, ...words: string[]) =>
    cli(['policy', 'validate', '-', '--state-dir', node.stateDir, ...words], { stdin });

  it('warns of rules that select nothing where an agent tells who there is, and passes', async () => {
    const { stdout, code } = await validate(POLICY('a', 'nobody'));
    assert.equal(code, 0);
    assert.match(stdout, /^stdin:\d+:\d+: .*no endpoint has the labels of its subject/m);
    assert.doesNotMatch((await validate(POLICY('a', 'nobody'), '--offline')).stdout, /no endpoint/);
  });

  it('needs no agent, and warns of a rule that another one covers', async () => {
    const text = `${POLICY('a', 'x')}---\n${POLICY('b', 'x')}`;
    const { stdout, stderr, code } = await cli(['policy', 'validate', '-', '--state-dir', '/nonexistent'], {
      stdin: text,
    });
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /rule default\/a at stdin:\d+ says all of it already/);
  });

  it('says every error at once and exits 1, also as JSON', async () => {
    const text = POLICY('a', 'x').replace('cluster', 'clutser').replace('kind: Cil', 'bogus: 1\nkind: Cil');
    const { stdout, code } = await validate(text);
    assert.equal(code, 1);
    assert.match(stdout, /bogus/);
    assert.match(stdout, /clutser/);
    const json = JSON.parse((await validate(text, '-o', 'json')).stdout) as { valid: boolean };
    assert.equal(json.valid, false);
  });

  it('refuses a file that is too large, one that is no text, and one that is not there', async () => {
    const large = await validate(`# ${'x'.repeat(20 * 1024 * 1024)}\n`);
    assert.notEqual(large.code, 0);
    assert.doesNotMatch(large.stdout + large.stderr, /^ {4}at /m);
    assert.notEqual((await validate('\u0000\u0001')).code, 0);
    const missing = await cli(['policy', 'validate', '/nonexistent.yaml']);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /^Error: cannot read the policy file \/nonexistent\.yaml/);
  });
});
