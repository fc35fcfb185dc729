import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { answerJson, cli, FakeNode, type Outcome } from './cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'ciliate-trace-'));
const node = new FakeNode();
const file = join(folder, 'rules.yaml');

/** Ports by who may use them, and one path of HTTP. */
const RULES = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: rule1, namespace: default}
spec:
  endpointSelector: {matchLabels: {class: deathstar}}
  ingress:
    - fromEndpoints: [{matchLabels: {org: empire}}]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{method: POST, path: /v1/request-landing}]}
`;

const NAMESPACE = 'k8s:io.kubernetes.pod.namespace=default';
const identity = (id: number, ...labels: string[]) => ({ id, labels: [...labels, NAMESPACE] });
const SHIP = identity(1001, 'k8s:org=empire', 'k8s:class=tiefighter');
const XWING = identity(1002, 'k8s:org=alliance', 'k8s:class=xwing');
const STAR = identity(1003, 'k8s:org=empire', 'k8s:class=deathstar');

function endpoint(id: number, who: typeof SHIP, name: string) {
  const status = {
    identity: who,
    'external-identifiers': { 'k8s-namespace': 'default', 'k8s-pod-name': name },
    networking: { addressing: [{ ipv4: `10.0.0.${id}` }] },
  };
  return { id, status };
}
const ENDPOINTS = [endpoint(1, SHIP, 'tiefighter'), endpoint(3, STAR, 'deathstar')];

function service(frontend: string, port: number, protocol: string, ...backends: readonly string[]) {
  const spec = {
    id: port,
    'frontend-address': { ip: frontend, port, protocol, scope: 'external' },
    'backend-addresses': backends.map((ip) => ({ ip, port: 8080, protocol, state: 'active' })),
    flags: { type: 'ClusterIP', name: 'star', namespace: 'default' },
  };
  return { spec, status: { realized: spec } };
}

const ANSWERS: Readonly<Record<string, unknown>> = {
  '/v1/policy/rules': [{ id: 42, name: 'default/rule1' }],
  '/v1/endpoint': ENDPOINTS,
  '/v1/endpoint/1': ENDPOINTS[0],
  '/v1/endpoint/3': ENDPOINTS[1],
  '/v1/identity/1': { id: 1, labels: ['reserved:host'] },
  '/v1/identity/1002': XWING,
  '/v1/ip': [
    { cidr: '0.0.0.0/0', identity: 2 },
    { cidr: '10.0.0.3/32', identity: 1003 },
    { cidr: '10.0.0.254/32', identity: 1 },
    { cidr: '10.0.9.9/32', identity: 1002, metadata: { namespace: 'default', name: 'xwing' } },
  ],
  '/v1/fqdn/cache': [],
  '/v1/service': [
    service('10.96.0.10', 80, 'TCP', '10.0.0.3'),
    service('10.96.0.10', 53, 'UDP'),
    service('0.0.0.0', 30_080, 'TCP', '10.0.0.3'),
  ],
  '/v1/policy/flows': {
    flows: [
      {
        endpoint: 3,
        identity: 1003,
        direction: 'ingress',
        'remote-identity': 1001,
        protocol: 6,
        'destination-port': 80,
        verdict: 'redirect',
        'rule-id': 42,
        count: 9,
        'last-seen': '2026-11-29T08:00:00Z',
        source: '10.0.0.1:4000',
        destination: '10.0.0.3:80',
      },
      {
        endpoint: 3,
        identity: 1003,
        direction: 'ingress',
        'remote-identity': 9999,
        protocol: 6,
        'destination-port': 80,
        verdict: 'deny',
        'rule-id': 0,
        count: 1,
        source: '10.0.0.77:4000',
        destination: '10.0.0.3:80',
      },
    ],
  },
  '/v1/policy/objects': {
    revision: 2,
    objects: JSON.stringify([
      {
        apiVersion: 'cilium.io/v2',
        kind: 'CiliumCIDRGroup',
        metadata: { name: 'office' },
        spec: { externalCIDRs: ['198.51.100.0/24'] },
      },
    ]),
  },
  '/v1/config': { status: { realized: { 'policy-enforcement': 'default' } } },
};

before(async () => {
  writeFileSync(file, RULES);
  const { stdout } = await cli(['policy', 'trace', '--policy', file, '-s', 'a=b', '-d', 'a=b', '-o', 'json']);
  assert.notEqual(stdout, '');
  const rules = [
    {
      endpointSelector: {
        matchLabels: { 'any:class': 'deathstar', [`${NAMESPACE.split('=')[0]}`]: 'default' },
      },
      ingress: [
        {
          fromCIDRSet: [{ cidrGroupRef: 'office' }],
          toPorts: [{ ports: [{ port: '443', protocol: 'TCP' }] }],
        },
        {
          fromEndpoints: [{ matchLabels: { 'any:org': 'empire' } }],
          toPorts: [
            {
              ports: [{ port: '80', protocol: 'TCP' }],
              rules: { http: [{ method: 'POST', path: '/v1/request-landing' }] },
            },
          ],
        },
      ],
      labels: [{ key: 'io.cilium.k8s.policy.name', value: 'rule1', source: 'k8s' }],
    },
  ];
  await node.serve('ciliate.sock', ({ path, body }, response) => {
    if (path === '/v1/policy') answerJson(response, 200, { revision: 2, policy: JSON.stringify(rules) });
    else if (path === '/v1/identity') {
      const wanted = JSON.parse(body === '' ? '[]' : body) as string[];
      const bare = wanted.map((label) => label.replace(/^any:/, ''));
      const found = [SHIP, XWING, STAR].filter(({ labels }) =>
        bare.every((one) => labels.some((label) => label.endsWith(`:${one}`))),
      );
      answerJson(response, found.length > 0 ? 200 : 404, found.length > 0 ? found : 'none');
    } else answerJson(response, ANSWERS[path] === undefined ? 404 : 200, ANSWERS[path] ?? 'none');
  });
});
after(async () => {
  await node.close();
  rmSync(folder, { recursive: true, force: true });
});

function trace(words: string, extra: readonly string[] = []): Promise<Outcome> {
  return cli(['policy', 'trace', ...words.split(' '), ...extra]);
}
const asked = (words: string, extra: readonly string[] = []) =>
  trace(words, [...extra, '--state-dir', node.stateDir]);

describe('policy trace of files', () => {
  const SHIPS = '-s org=empire -d class=deathstar --dport 80';

  it('needs no agent: names the rule that decides with its line, and exits 0', async () => {
    const { stdout, stderr, code } = await trace(`--policy ${file} ${SHIPS}`);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.match(
      stdout,
      /\* rule default\/rule1, .*rules\.yaml:5\n {6}ingress\[0\] allows: peer matches any:org=empire/,
    );
    assert.match(stdout, /requests that match one of:\n {10}http: POST \/v1\/request-landing\n/);
    assert.match(stdout, /names no namespace: taken as of default/);
    assert.match(stdout, /\nFinal verdict: ALLOWED, through the proxy\n$/);
  });

  it('judges a request as the proxy would', async () => {
    const put = await trace(`--policy ${file} ${SHIPS}`, ['--http', 'PUT /v1/exhaust-port']);
    assert.equal(put.code, 1);
    assert.match(put.stdout, /the request matches none of:/);
    assert.match(put.stdout, /\nFinal verdict: DENIED\n$/);
    const post = await trace(`--policy ${file} ${SHIPS}`, ['--http', 'POST /v1/request-landing']);
    assert.equal(post.code, 0);
    const tricky = await trace(`--policy ${file} ${SHIPS}`, ['--http', 'POST /v1/../v1/request-landing']);
    assert.equal(tricky.code, 2);
    assert.match(tricky.stderr, /the proxy answers 400/);
  });

  it('shows the rules of the destination the request as the proxy leaves it for those of the source', async () => {
    const both = join(folder, 'headers.yaml');
    const ports = 'toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{';
    writeFileSync(
      both,
      `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: both, namespace: default}
specs:
- endpointSelector: {matchLabels: {org: empire}}
  egress: [{${ports}headerMatches: [{name: X-Team, value: red, mismatch: REPLACE}]}]}}]}]
- endpointSelector: {matchLabels: {class: deathstar}}
  ingress: [{${ports}headers: ["X-Team: red"]}]}}]}]
`,
    );
    const words = `--policy ${both} -d class=deathstar --dport 80`;
    const get = (who: string, team: string) =>
      trace(`${words} -s ${who}`, ['--http', 'GET /a', '--header', `X-Team: ${team}`]);
    const changed = await get('org=empire', 'blue');
    assert.equal(changed.code, 0, changed.stdout + changed.stderr);
    assert.match(changed.stdout, /changes it: X-Team: red in place of what there was\n/);
    assert.equal((await get('org=alliance', 'blue')).code, 1, 'nobody changes it');
    const disguised = await trace(`${words} -s org=alliance`, [
      ...['--http', 'GET /a', '--header', 'X-Team: red', '--header', 'X_Team: blue'],
    ]);
    assert.equal(disguised.code, 1, 'a field that is X-Team too to some servers');
    assert.equal((await get('org=alliance', 'red')).code, 0);
  });

  it('judges the server that TLS asks for as the proxy would', async () => {
    const rules = join(folder, 'names.yaml');
    writeFileSync(
      rules,
      RULES.replace(/rules: .*\n/, 'serverNames: [api.example.org, "*.example.net"]\n').replace(
        '"80"',
        '"443"',
      ),
    );
    const https = `--policy ${rules} -s org=empire -d class=deathstar --dport 443`;
    for (const name of ['api.example.org', 'API.Example.org', 'www.example.net']) {
      const { stdout, code } = await trace(https, ['--server-name', name]);
      assert.equal(code, 0, stdout);
      assert.ok(stdout.includes(`\nRequest TLS to ${name}\n`), stdout);
      assert.match(stdout, /the request matches one of:\n {10}tls: server api\.example\.org\n/);
    }
    for (const name of ['example.net', 'a.b.example.net', 'api.example.org.evil.net']) {
      const { stdout, code } = await trace(https, ['--server-name', name]);
      assert.equal(code, 1, stdout);
      assert.match(stdout, /the request matches none of:/);
    }
    const http = await trace(https, ['--http', 'GET /']);
    assert.equal(http.code, 1, 'no TLS at all');
    const web = await trace(`--policy ${file} ${SHIPS}`, ['--server-name', 'api.example.org']);
    assert.equal(web.code, 1);
    assert.match(web.stdout, /connections there are of http: the proxy refuses TLS/);
  });

  it('exits 1 and says what the peer lacks, or which port it is for', async () => {
    const other = await trace(`--policy ${file} -s org=alliance -d class=deathstar --dport 80`);
    assert.equal(other.code, 1);
    assert.match(other.stdout, /ingress\[0\] does not match: peer lacks any:org=empire/);
    const port = await trace(`--policy ${file} -s org=empire -d class=deathstar --dport 443/tcp`);
    assert.match(port.stdout, /ingress\[0\] does not match: is for 80\/TCP only/);
  });

  it('prints JSON with both directions', async () => {
    const { stdout, code } = await trace(
      `--policy ${file} -s org=alliance -d class=deathstar --dport 80 -o json`,
    );
    assert.equal(code, 1);
    const result = JSON.parse(stdout) as {
      verdict: string;
      ingress: { rules: { items: { matches: boolean }[] }[] };
    };
    assert.equal(result.verdict, 'denied');
    assert.equal(result.ingress.rules[0]?.items[0]?.matches, false);
  });

  it('takes a label that was not given for one that is not there, and tells which would turn the verdict', async () => {
    const two = join(folder, 'two.yaml');
    writeFileSync(two, RULES.replace('{class: deathstar}', '{class: deathstar, org: empire}'));
    const short = await trace(`--policy ${two} -s org=alliance -d class=deathstar --dport 80`);
    assert.equal(short.code, 0);
    assert.match(
      short.stdout,
      /\nFinal verdict: ALLOWED, for just these labels\nWith k8s:org=empire at the destination: DENIED \(default\/rule1\)\n$/,
    );
    const whole = await trace(`--policy ${two} -s org=alliance -d class=deathstar -d org=empire --dport 80`);
    assert.equal(whole.code, 1);
    assert.match(whole.stdout, /\nFinal verdict: DENIED\n$/);
    const other = await trace(`--policy ${two} -s org=alliance -d class=deathstar -d org=none --dport 80`);
    assert.match(other.stdout, /\nFinal verdict: ALLOWED\n$/);
    const json = await trace(
      `--policy ${two} -s class=x -d class=deathstar -d org=empire --dport 80 -o json`,
    );
    assert.deepEqual((JSON.parse(json.stdout) as { dependsOn: unknown }).dependsOn, [
      { end: 'source', labels: ['k8s:org=empire'], verdict: 'redirected', rule: 'default/rule1' },
    ]);
  });

  it('escapes what a terminal would obey', async () => {
    const odd = await trace(`--policy ${file} ${SHIPS}`, ['--http', 'GET /\u001b[2J']);
    assert.equal(odd.code, 1);
    assert.match(odd.stdout, /^Request GET \/\\x1b\[2J$/m);
  });

  const WRONG: Readonly<Record<string, RegExp>> = {
    '-d a=b': /say whose traffic it is: --src/,
    '-s a=b --src-ip 1.2.3.4 -d a=b': /say only one way who --src is/,
    '-s 9.9.9.9 -d a=b': /--src takes labels, and "9.9.9.9" is none.*--src-ip 9.9.9.9/s,
    '-s a=b -d fd00::/64': /--dst takes labels.*--dst-ip fd00::\/64/s,
    '-s 12 -d a=b': /--src takes labels.*--src-endpoint 12/s,
    '-s a=b -d a=b --dport 80/xyz': /is no port/,
    '-s a=b -d a=b --dport 70000': /is no port/,
    '-s a=b -d a=b --dport icmp/300': /is no type of ICMP/,
    '--src-endpoint 7 -d a=b': /needs an agent/,
    '--src-ip 1.2.3 -d a=b': /is not an IP address/,
    '-s nonsense:a=b -d a=b': /unknown label source/,
    '-s a=b -d a=b --http GET': /is no request/,
    '-s a=b -d a=b --server-name a.b.': /the proxy resets TLS to "a\.b\."/,
    '-s a=b -d a=b --server-name a.b --dns a.b': /--server-name/,
  };
  for (const [words, message] of Object.entries(WRONG)) {
    it(`refuses ${words} with 2`, async () => {
      const { stderr, code } = await trace(`--policy ${file} ${words}`);
      assert.match(stderr, message);
      assert.equal(code, 2);
    });
  }

  it('refuses an invalid file with 2 and every error', async () => {
    const { stderr, code } = await trace('--policy - -s a=b -d a=b', []);
    assert.equal(code, 2);
    assert.match(stderr, /the policy is invalid|stdin/);
  });
});

describe('policy trace of the rules of an agent', () => {
  it('takes the whole identity that the labels name, and shows the number of the rule', async () => {
    const { stdout, code } = await asked('-s class=tiefighter -d class=deathstar --dport 80');
    assert.equal(code, 0);
    assert.match(stdout, /^From +k8s:org=empire,k8s:class=tiefighter,.* \(identity 1001\)$/m);
    assert.match(stdout, /\* rule #42 rule1, number 1 of policy get/);
  });

  it('traces every identity that carries the labels, and shows one that is denied before others', async () => {
    const { stdout, code } = await asked(
      '-s io.kubernetes.pod.namespace=default -d class=deathstar --dport 80',
    );
    assert.equal(code, 1, stdout);
    assert.match(stdout, /^From +k8s:org=alliance,k8s:class=xwing,.* \(identity 1002\)$/m);
    assert.match(stdout, /^Note: 3 identities carry io\.kubernetes\.pod\.namespace=default$/m);
    assert.match(
      stdout,
      /^Note: 1 of 3 pairs of them have the verdict that is shown, of the first of these$/m,
    );
    const alike = await asked('-s org=empire -d class=deathstar --dport 80');
    assert.equal(alike.code, 0, alike.stdout);
    assert.match(alike.stdout, /^Note: all 2 pairs of them have the same verdict: shown is the first$/m);
  });

  it('says that no identity carries the labels', async () => {
    const { stdout } = await asked('-s class=nobody -d class=deathstar --dport 80');
    assert.match(stdout, /^Note: no identity carries class=nobody: traced as one that has just these$/m);
  });

  it('takes the groups that the agent has for those that rules name', async () => {
    const https = '-d class=deathstar --dport 443';
    const { stdout, code } = await asked(`--src-ip 198.51.100.7 ${https}`);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /lies in 198\.51\.100\.0\/24/);
    assert.equal((await asked(`--src-ip 203.0.113.7 ${https}`)).code, 1);
  });

  it('says of an address at which services are reached what to trace instead', async () => {
    const note = async (words: string): Promise<readonly string[]> => {
      const { stdout } = await asked(`--src-endpoint 1 ${words}`);
      return stdout.split('\n').filter((line) => /^Note: 10\./.test(line));
    };
    const tcp =
      'Note: 10.96.0.10 port 80/TCP is the service default/star, and rules judge what is sent to it by its backends: trace --dst-ip 10.0.0.3 --dport 8080/tcp';
    const udp =
      'Note: 10.96.0.10 port 53/UDP is the service default/star, and rules judge what is sent to it by its backends: it has none and refuses';
    assert.deepEqual(await note('--dst-ip 10.96.0.10 --dport 80'), [tcp]);
    assert.deepEqual(await note('--dst-ip 10.96.0.10 --dport 53/udp'), [udp]);
    assert.deepEqual(await note('--dst-ip 10.96.0.10'), [tcp, udp]);
    assert.match(
      (await note('--dst-ip 10.0.0.254 --dport 30080')).join(),
      /trace --dst-ip 10\.0\.0\.3 --dport 8080/,
    );
    for (const words of [
      '10.96.0.10 --dport 80/udp',
      '10.96.0.11 --dport 80',
      '10.96.0.10/32 --dport 80',
      '10.96.0.10 --dport icmp/8',
      '10.0.0.3 --dport 30080',
      '10.0.0.254 --dport 30081',
      '10.0.0.254',
    ])
      assert.deepEqual(await note(`--dst-ip ${words}`), [], words);
  });

  it('takes endpoints, pods of this and other nodes, identities and addresses', async () => {
    const ways = ['--src-endpoint 1', '--src-k8s-pod default/tiefighter', '-s class=tiefighter'];
    for (const way of ways) {
      const { code, stdout } = await asked(`${way} --dst-ip 10.0.0.3 --dport 80`);
      assert.equal(code, 0, stdout);
      assert.match(stdout, /^To +10\.0\.0\.3 \(endpoint 3 /m);
    }
    for (const way of ['--src-k8s-pod default/xwing', '--src-identity 1002', '--src-ip 10.0.9.9']) {
      const { code, stdout } = await asked(`${way} --dst-endpoint 3 --dport 80`);
      assert.equal(code, 1, stdout);
    }
    const world = await asked('--src-ip 8.8.8.8 --dst-endpoint 3 --dport 80');
    assert.match(world.stdout, /Egress of the source: allowed, outside the cluster/);
    assert.equal(world.code, 1);
  });

  it('ends with 1 for an endpoint that is not there, 2 for a pod, 4 without an agent', async () => {
    assert.equal((await asked('--src-endpoint 9 -d a=b')).code, 1);
    assert.equal((await asked('--src-k8s-pod a/b -d a=b')).code, 2);
    const dead = await trace('-s a=b -d a=b --state-dir /nonexistent');
    assert.equal(dead.code, 4);
    assert.match(dead.stderr, /is the agent running\? start it|or trace files/);
  });
});

describe('policy impact', () => {
  const impact = (...words: string[]) => cli(['policy', 'impact', ...words, '--state-dir', node.stateDir]);

  it('shows the flows that a deletion would open, and exits 0', async () => {
    const { stdout, stderr, code } = await impact('--delete', 'io.cilium.k8s.policy.name=rule1');
    assert.equal(stderr, '');
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^0 rules added, 1 rule removed; 1 endpoint of this node would change\n/);
    assert.match(
      stdout,
      /^1 of 2 kinds of flows and requests seen would change their verdict; of 1 the peers are gone$/m,
    );
    assert.match(stdout, /^3 +Enabled -> Disabled +Disabled +\+1 -\d, L7 /m);
    assert.match(
      stdout,
      /^redirected -> allowed +3 +ingress +k8s:class=tiefighter,.* 80\/TCP +9 +2026-11-29T08:00:00Z +not enforced/m,
    );
    assert.match(stdout, /^Nothing that was seen to pass is cut off$/m);
  });

  it('takes objects as policy delete does', async () => {
    const byLabel = await impact('--delete', 'io.cilium.k8s.policy.name=rule1');
    assert.deepEqual(await impact('--delete', 'cnp/default/rule1'), byLabel);
    assert.equal((await impact('--delete', 'cnp/default/rule1', '--delete', 'a=b')).code, 2);
  });

  it('refuses to work out a deletion of nothing', async () => {
    for (const [words, message] of [
      ['cnp/default/rule7', 'there is no CiliumNetworkPolicy/default/rule7'],
      ['name=other', 'no rule has the labels name=other'],
    ] as const) {
      const { stdout, stderr, code } = await impact('--delete', words);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.ok(stderr.startsWith(`Error: ${message}`), stderr);
    }
  });

  it('exits 1 when something that passes now would be cut off', async () => {
    const text = RULES.replace('{name: rule1,', '{name: rule2,').replace(
      / {2}ingress:[\s\S]*$/,
      '  ingressDeny: [{fromEntities: [all]}]\n',
    );
    const child = await cli(['policy', 'impact', '-', '--state-dir', node.stateDir], { stdin: text });
    assert.equal(child.code, 1, child.stdout + child.stderr);
    assert.match(child.stdout, /^redirected -> denied +3 .* a rule denies it: default\/rule2$/m);
    const json = await cli(['policy', 'impact', '-', '-o', 'json', '--state-dir', node.stateDir], {
      stdin: text,
    });
    assert.equal((JSON.parse(json.stdout) as { cutsOff: boolean }).cutsOff, true);
  });

  it('refuses nothing at all and an invalid file with 2, and a dead agent with 4', async () => {
    assert.equal((await impact()).code, 2);
    const bad = await cli(['policy', 'impact', '-', '--state-dir', node.stateDir], {
      stdin: 'kind: Nothing\n',
    });
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /^Error: the policy is invalid:/);
    assert.equal((await cli(['policy', 'impact', file, '--state-dir', '/nonexistent'])).code, 4);
  });
});
