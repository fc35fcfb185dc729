import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parsePolicy } from '../../src/policy/index.ts';

const base = (x: object): string => JSON.stringify([{ endpointSelector: {}, ...x }]);
const port = (p: object): string => base({ ingress: [{ toPorts: [{ ports: [p] }] }] });
const TEXTS: Readonly<Record<string, string>> = {
  badcidr: base({ egress: [{ toCIDR: ['10.0.0.300/8'] }] }),
  noncontig: base({ egress: [{ toCIDR: ['10.0.0.0/255.0.255.0'] }] }),
  len: base({ egress: [{ toCIDR: ['10.0.0.0/33'] }] }),
  host: base({ egress: [{ toCIDR: ['10.0.0.1/8'] }] }),
  v4mapped: base({ egress: [{ toCIDR: ['::ffff:10.0.0.1/128'] }] }),
  v4mapped96: base({ egress: [{ toCIDR: ['::ffff:0:0/96'] }] }),
  setnolen: base({ egress: [{ toCIDRSet: [{ cidr: '10.0.0.1' }] }] }),
  except: base({ egress: [{ toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['11.0.0.0/8'] }] }] }),
  exceptfam: base({ egress: [{ toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['::/0'] }] }] }),
  zone: base({ egress: [{ toCIDR: ['fe80::1%eth0/64'] }] }),
  leading: base({ egress: [{ toCIDR: ['010.0.0.1/8'] }] }),
  port: port({ port: '70000', protocol: 'TCP' }),
  portneg: port({ port: '-1', protocol: 'TCP' }),
  portnum: port({ port: 80, protocol: 'TCP' }),
  portempty: port({ port: '', protocol: 'TCP' }),
  wrap: port({ port: '80', endPort: 65536, protocol: 'TCP' }),
  wrap2: port({ port: '80', endPort: -1 }),
  rev: port({ port: '80', endPort: 20 }),
  proto: port({ port: '80', protocol: 'TPC' }),
  name: port({ port: 'Very-Long-Name-For-A-Port-Indeed', protocol: 'TCP' }),
  float: port({ port: '80.5' }),
  hex: port({ port: '0x50' }),
  uni: port({ port: '８０' }),
  exp: port({ port: '1e2' }),
  big: port({ port: '99999999999999999999' }),
  plus: port({ port: '+80' }),
  endstr: port({ port: '80', endPort: '90' }),
  endfrac: port({ port: '80', endPort: 90.5 }),
  zeroend: port({ port: '0', endPort: 100 }),
  nameend: port({ port: 'http', endPort: 100 }),
  entity: base({ ingress: [{ fromEntities: ['wrold'] }] }),
  two: base({ ingress: [{ fromEntities: ['world'], fromCIDR: ['10.0.0.0/8'] }] }),
  httpudp: base({
    ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: 'UDP' }], rules: { http: [{}] } }] }],
  }),
  twol7: base({
    ingress: [
      { toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{}], kafka: [{}] } }] },
    ],
  }),
  regex: base({
    ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ path: '(' }] } }] }],
  }),
  look: base({
    ingress: [
      { toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ path: '(?=a)' }] } }] },
    ],
  }),
  l7deny: base({
    ingressDeny: [{ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{}] } }] }],
  }),
  dnsin: base({
    ingress: [
      { toPorts: [{ ports: [{ port: '53', protocol: 'UDP' }], rules: { dns: [{ matchPattern: '*' }] } }] },
    ],
  }),
  fqdn: base({ egress: [{ toFQDNs: [{ matchPattern: 'a b' }] }] }),
  fqdnuni: base({ egress: [{ toFQDNs: [{ matchName: 'exämple.com' }] }] }),
  fqdnlong: base({ egress: [{ toFQDNs: [{ matchName: 'a'.repeat(300) }] }] }),
  fqdnall: base({ egress: [{ toFQDNs: [{ matchPattern: '**' }] }] }),
  fqdnall2: base({ egress: [{ toFQDNs: [{ matchPattern: '*.*' }] }] }),
  fqdnall3: base({ egress: [{ toFQDNs: [{ matchPattern: '***' }] }] }),
  fqdnempty: base({ egress: [{ toFQDNs: [{ matchName: '' }] }] }),
  fqdndot: base({ egress: [{ toFQDNs: [{ matchName: '.' }] }] }),
  fqdnre: base({ egress: [{ toFQDNs: [{ matchPattern: '(a|b)*.com' }] }] }),
  dup: '[{"endpointSelector":{},"ingress":[],"ingress":[{}]}]',
  dupyaml: 'endpointSelector: {}\ningress: []\ningress: [{}]\n',
  proto2: '[{"endpointSelector":{},"__proto__":{"ingress":[{}]}}]',
  ctor: '[{"endpointSelector":{"matchLabels":{"constructor":"x","__proto__":"y"}}}]',
  deep: '['.repeat(5000) + ']'.repeat(5000),
  deepy: `a: ${'['.repeat(100)}${']'.repeat(100)}`,
  bom: `\ufeff${base({})}`,
  nul: '[{"endpointSelector":{"matchLabels":{"a\\u0000b":"c"}},"ingress":[{}]}]',
  surrogate: '[{"endpointSelector":{"matchLabels":{"a":"\\ud800"}},"ingress":[{}]}]',
  rtl: base({ description: '\u202eevil', ingress: [{}] }),
  nosel: '[{"ingress":[{}]}]',
  nullsel: '[{"endpointSelector":null,"ingress":[{}]}]',
  empty: '',
  emptylist: '[]',
  notobj: '5',
  str: '"x"',
  kind: 'kind: Pod\napiVersion: v1\nmetadata: {name: x}\n',
  nokind: 'apiVersion: cilium.io/v2\nmetadata: {name: x}\n',
  noname: 'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nspec: {endpointSelector: {}}\n',
  nospec: 'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x}\n',
  op: '[{"endpointSelector":{"matchExpressions":[{"key":"a","operator":"Foo"}]},"ingress":[{}]}]',
  opvals: '[{"endpointSelector":{"matchExpressions":[{"key":"a","operator":"In"}]},"ingress":[{}]}]',
  exvals:
    '[{"endpointSelector":{"matchExpressions":[{"key":"a","operator":"Exists","values":["x"]}]},"ingress":[{}]}]',
  collide: '[{"endpointSelector":{"matchLabels":{"any:app":"a","k8s:app":"b","app":"c"}},"ingress":[{}]}]',
  collide2: '[{"endpointSelector":{"matchLabels":{"any.app":"a","any:app":"b"}},"ingress":[{}]}]',
  src: '[{"endpointSelector":{"matchLabels":{"k9s:app":"a"}},"ingress":[{}]}]',
  longlabel: `[{"endpointSelector":{"matchLabels":{"${'a'.repeat(400)}":"b"}},"ingress":[{}]}]`,
  icmp: base({ ingress: [{ icmps: [{ fields: [{ type: 300 }] }] }] }),
  icmpn: base({ ingress: [{ icmps: [{ fields: [{ type: 'Foo' }] }] }] }),
  icmpports: base({
    ingress: [{ icmps: [{ fields: [{ type: 8 }] }], toPorts: [{ ports: [{ port: '80' }] }] }],
  }),
  mism: base({
    ingress: [
      {
        toPorts: [
          {
            ports: [{ port: '80', protocol: 'TCP' }],
            rules: { http: [{ headerMatches: [{ name: 'x', mismatch: 'FOO' }] }] },
          },
        ],
      },
    ],
  }),
  headn: base({
    ingress: [
      {
        toPorts: [
          {
            ports: [{ port: '80', protocol: 'TCP' }],
            rules: { http: [{ headerMatches: [{ value: 'x' }] }] },
          },
        ],
      },
    ],
  }),
  kafka: base({
    ingress: [
      {
        toPorts: [
          {
            ports: [{ port: '9092', protocol: 'TCP' }],
            rules: { kafka: [{ role: 'produce', apiKey: 'fetch' }] },
          },
        ],
      },
    ],
  }),
  kafkat: base({
    ingress: [
      { toPorts: [{ ports: [{ port: '9092', protocol: 'TCP' }], rules: { kafka: [{ topic: 'a b' }] } }] },
    ],
  }),
  kafkar: base({
    ingress: [
      { toPorts: [{ ports: [{ port: '9092', protocol: 'TCP' }], rules: { kafka: [{ role: 'prduce' }] } }] },
    ],
  }),
  kafkav: base({
    ingress: [
      { toPorts: [{ ports: [{ port: '9092', protocol: 'TCP' }], rules: { kafka: [{ apiVersion: 'x' }] } }] },
    ],
  }),
  typo: base({ ingres: [{}] }),
  auth: base({ ingress: [{ authentication: { mode: 'required' } }] }),
  groups: base({ ingress: [{ fromGroups: [{ aws: {} }] }] }),
  node: base({ ingress: [{ fromNodes: [{}] }] }),
  tls: base({ egress: [{ toPorts: [{ ports: [{ port: '443', protocol: 'TCP' }], terminatingTLS: {} }] }] }),
  sni: base({ egress: [{ toPorts: [{ ports: [{ port: '443', protocol: 'TCP' }], serverNames: [''] }] }] }),
  many: base({
    ingress: [{ toPorts: [{ ports: Array.from({ length: 41 }, (_, i) => ({ port: String(i + 1) })) }] }],
  }),
  both: '[{"endpointSelector":{},"nodeSelector":{},"ingress":[{}]}]',
  l7no: base({
    ingress: [{ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { l7: [{ a: 'b' }] } }] }],
  }),
  listener: base({ egress: [{ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], listener: {} }] }] }),
  edd: base({ enableDefaultDeny: { ingress: 'no' }, ingress: [{}] }),
  yamltab: 'a:\n\tb: c\n',
  unclosed: '{"a": [',
  tag: 'a: !!binary x\n',
  merge: 'a: &x {b: c}\nd:\n  <<: *x\n',
  svc: base({ egress: [{ toServices: [{}] }] }),
  svc2: base({ egress: [{ toServices: [{ k8sService: {} }] }] }),
};

/** Taken, since Cilium takes them. */
const TAKEN = new Set([
  'host',
  'v4mapped',
  'v4mapped96',
  'rev',
  'hex',
  'exp',
  'zeroend',
  'nameend',
  'fqdnuni',
  'fqdnall',
  'fqdnall2',
  'fqdnall3',
  'fqdnempty',
  'fqdndot',
  'bom',
  'rtl',
  'emptylist',
  'collide2',
  'src',
  'node',
]);

describe('what is said of texts that somebody got wrong, or made to be misread', () => {
  for (const [name, text] of Object.entries(TEXTS)) {
    it(`says of ${name} what is wrong and what would be right, soon`, () => {
      const start = process.cpuUsage();
      const { errors, warnings } = parsePolicy(text, { file: 'text', namespace: 'default' });
      const { user } = process.cpuUsage(start);
      assert.equal(errors.length === 0, TAKEN.has(name), JSON.stringify([...errors, ...warnings]));
      for (const { reason, hint } of [...errors, ...warnings]) assert.notEqual(hint ?? '', '', reason);
      assert.ok(user < 5_000_000, `${user} us`);
    });
  }

  it('warns of prefixes of IPv4 within IPv6, which no packet has, and names those that were meant', () => {
    const { warnings } = parsePolicy(base({ egressDeny: [{ toCIDR: ['::ffff:10.0.0.0/104'] }] }), {
      file: 'text',
    });
    assert.equal(warnings[0]?.hint, 'write 10.0.0.0/8');
    for (const fine of ['::/0', '::/95', '::fffe:0:0/96', '10.0.0.0/8'])
      assert.deepEqual(
        parsePolicy(base({ egressDeny: [{ toCIDR: [fine] }] }), { file: 'text' }).warnings,
        [],
        fine,
      );
  });
});
