import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { answerJson, cli, FakeNode, type Outcome } from './cli.ts';

const node = new FakeNode();
let events: Server | undefined;

const end = (identity: number, endpoint: number) => ({ address: '10.0.0.1', port: 4000, identity, endpoint });
const request = (endpoint: number, path: string) => ({
  kind: 'l7',
  time: '2026-11-29T08:00:00Z',
  type: 'request',
  verdict: 'denied',
  direction: 'ingress',
  source: end(1001, 0),
  destination: end(1003, endpoint),
  rules: [],
  reason: 'no rule allows it',
  latencyNs: 0,
  l7: { kind: 'http', method: 'PUT', path, host: 'deathstar', protocol: 'HTTP/1.1', status: 403 },
});
const VERDICT = {
  kind: 'policy-verdict',
  monotonicNs: '1',
  cpu: 0,
  source: 5,
  hash: 1,
  srcIdentity: 1001,
  dstIdentity: 1003,
  dstEndpoint: 5,
  ifindex: 2,
  lengthBytes: 54,
  summary: '10.0.0.1:4000 -> 10.0.0.3:80 tcp SYN',
  capture: '',
  direction: 'ingress',
  remoteIdentity: 1001,
  verdict: 10_000,
  match: 2,
  protocol: 6,
  destinationPort: 80,
  ruleId: 42,
};
/** By the rule that the agent makes for health endpoints; it lists no such rule. */
const GENERATED = { ...VERDICT, verdict: -133, ruleId: 0xffff_fff0 };
const EVENTS = [VERDICT, GENERATED, request(5, '/v1/exhaust-port'), request(6, '/\u001b]0;x\u0007')];

const ANSWERS: Readonly<Record<string, unknown>> = {
  '/v1/policy/rules': [{ id: 42, name: 'default/rule1' }],
  '/v1/identity': [
    { id: 1001, labels: ['k8s:class=tiefighter'] },
    { id: 1003, labels: ['k8s:class=deathstar'] },
  ],
};

before(async () => {
  await node.serve('ciliate.sock', ({ path }, response) => {
    answerJson(response, ANSWERS[path] === undefined ? 404 : 200, ANSWERS[path] ?? 'none');
  });
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(EVENTS.map((event) => `${JSON.stringify(event)}\n`).join(''));
  });
  events = server;
  await new Promise<void>((done) => server.listen(join(node.stateDir, 'events.sock'), done));
});
after(async () => {
  await new Promise((done) => events?.close(done));
  await node.close();
});

function monitor(...words: string[]): Promise<Outcome> {
  return cli(['monitor', '--state-dir', node.stateDir, ...words]);
}

describe('monitor', () => {
  it('shows requests alone with -t l7, with the labels of both ends and their verdict', async () => {
    const { stdout, code } = await monitor('-t', 'l7', '--to', '5');
    assert.equal(code, 0);
    assert.equal(
      stdout,
      '<- Request http from 0 ([k8s:class=tiefighter]) to 5 ([k8s:class=deathstar]), identity 1001->1003, verdict Denied PUT http://deathstar/v1/exhaust-port => 403 (no rule allows it)\n',
    );
  });

  it('names the rule of a verdict', async () => {
    const { stdout } = await monitor('-t', 'policy-verdict');
    assert.match(stdout, /action redirect to proxy port 10000, match L3-L4, rule #42 default\/rule1, /);
    assert.match(stdout, /action deny, match L3-L4, rule #4294967280 reserved:health-paths, /);
  });

  it('sends nothing of a path to the terminal that it would obey', async () => {
    const { stdout } = await monitor('--related-to', '6');
    assert.match(stdout, /PUT http:\/\/deathstar\/\\x1b\]0;x\\x07 => 403/);
    assert.ok(!stdout.includes('\u001b'));
  });

  it('prints records whole with --json, one a line', async () => {
    const { stdout } = await monitor('--json', '-t', 'l7');
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, 2);
    const first = JSON.parse(lines[0] ?? '') as { type: string; l7: { path: string } };
    assert.equal(first.l7.path, '/v1/exhaust-port');
  });

  it('shows numbers and addresses where the agent is not asked', async () => {
    const { stdout } = await monitor('-n', '-t', 'l7', '--to', '5');
    assert.match(stdout, /from 0 \(10\.0\.0\.1:4000\) to 5 \(10\.0\.0\.1:4000\)/);
  });

  it('refuses types that there are not with 2, and ends with 4 without an agent', async () => {
    assert.equal((await monitor('-t', 'l8')).code, 2);
    assert.equal((await cli(['monitor', '--state-dir', '/nonexistent', '-n'])).code, 4);
  });
});
