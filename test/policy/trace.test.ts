import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCidr } from '../../src/base/ip.ts';
import type { L7Rules } from '../../src/model/l7.ts';
import { labelSet, parseLabels } from '../../src/model/labels.ts';
import { EMPTY_INVENTORY, type PolicyInventory } from '../../src/model/policy-inventory.ts';
import { makeSelector } from '../../src/model/selector.ts';
import {
  type TracedRequest,
  type TraceL4,
  type TraceParty,
  type TraceResult,
  tracePolicy,
} from '../../src/policy/index.ts';
import type { PortSpec, Rule, RuleItem } from '../../src/policy/rule.ts';
import type { TraceOptions } from '../../src/policy/trace.ts';

const app = (value: string) => makeSelector([{ source: 'any', key: 'app', value }]);
const pod = (name: string): TraceParty => ({
  title: name,
  labels: labelSet(parseLabels([`k8s:app=${name}`])),
  identity: 1000,
});
const outside = (text: string, names: readonly string[] = []): TraceParty => ({
  title: text,
  labels: parseLabels(['reserved:world', 'reserved:world-ipv4']),
  identity: 2,
  prefix: parseCidr(text),
  names,
});
const HOST: TraceParty = { title: 'host', labels: parseLabels(['reserved:host']), identity: 1 };

const rule = (parts: Partial<Rule>): Rule => ({
  subject: app('web'),
  ingress: undefined,
  egress: undefined,
  labels: parseLabels(['k8s:io.cilium.k8s.policy.name=r']),
  description: undefined,
  ...parts,
});
const ANY: RuleItem = { peers: { kind: 'entities', entities: ['all'] }, ports: undefined };
const tcp = (port: number): RuleItem => ({
  peers: undefined,
  ports: [{ ports: [{ port, endPort: undefined, protocol: 'TCP' }] }],
});
const withL7 = (l7: L7Rules): RuleItem => ({
  peers: undefined,
  ports: [{ ports: [{ port: 80, endPort: undefined, protocol: 'TCP' }], l7 }],
});
const HTTP: L7Rules = { kind: 'http', rules: [] };
const PORT80: TraceL4 = { kind: 'port', protocol: 6, port: 80 };

interface Traffic {
  readonly source?: TraceParty;
  readonly destination?: TraceParty;
  readonly l4?: TraceL4;
  readonly options?: Partial<TraceOptions>;
}

function trace(rules: readonly Partial<Rule>[], traffic: Traffic = {}): TraceResult {
  const { source = pod('client'), destination = pod('web'), l4 = PORT80, options } = traffic;
  return tracePolicy(
    rules.map((parts, i) => ({ rule: rule(parts), place: `number ${i + 1}` })),
    { source, destination, l4 },
    {
      mode: 'default',
      allowLocalhost: 'always',
      clusterName: 'default',
      inventory: EMPTY_INVENTORY,
      ...options,
    },
  );
}

function reasons(result: TraceResult, direction: 'ingress' | 'egress' = 'ingress'): string[] {
  return result[direction].rules.flatMap(({ items }) => items.flatMap((item) => item.reasons));
}

describe('tracePolicy', () => {
  it('allows what no rule selects, and names the rules that are for others', () => {
    const result = trace([{ subject: app('other'), ingress: [ANY] }]);
    assert.equal(result.verdict, 'allowed');
    assert.deepEqual(result.ingress.others, [
      { name: 'r', place: 'number 1', lacks: 'endpoint lacks any:app=other' },
    ]);
  });

  it('denies what nothing allows once a rule selects the endpoint, and says why each item does not match', () => {
    const peers = { kind: 'endpoints', selectors: [app('admin')] } as const;
    const result = trace([
      { ingress: [{ peers, ports: undefined }, tcp(443), { peers: undefined, ports: undefined }] },
    ]);
    assert.equal(result.verdict, 'denied');
    assert.equal(result.ingress.reason, 'nothing allows it');
    assert.deepEqual(reasons(result), [
      'peer lacks any:app=admin',
      'is for 443/TCP only',
      '{} selects nobody',
    ]);
    assert.ok(result.ingress.rules.every(({ decides }) => !decides));
  });

  it('says of names of servers that they are judged over TCP only', () => {
    const port: PortSpec = { port: 443, endPort: undefined, protocol: 'ANY' };
    const rules = [{ ingress: [{ peers: undefined, ports: [{ ports: [port], serverNames: ['a.b'] }] }] }];
    const over = (protocol: number): TraceResult =>
      trace(rules, { l4: { kind: 'port', protocol, port: 443 } });
    assert.deepEqual(reasons(over(17)), ['judges 443/ANY by what is not spoken over this protocol']);
    assert.equal(over(17).verdict, 'denied');
    assert.deepEqual(reasons(over(6)), ['every peer', 'port 443/ANY']);
  });

  it('lets a deny of any rule win over every allow, and stars only the deny', () => {
    const result = trace([{ ingress: [ANY] }, { ingressDeny: [tcp(80)] }]);
    assert.equal(result.verdict, 'denied');
    assert.deepEqual(
      result.ingress.rules.map(({ decides }) => decides),
      [false, true],
    );
    assert.equal(trace([{ ingress: [ANY] }, { ingressDeny: [tcp(81)] }]).verdict, 'allowed');
  });

  it('needs both sides: egress of the source and ingress of the destination', () => {
    const rules = [{ ingress: [ANY] }, { subject: app('client'), egress: [tcp(443)] }];
    const result = trace(rules);
    assert.deepEqual(
      [result.egress.verdict, result.ingress.verdict, result.verdict],
      ['denied', 'allowed', 'denied'],
    );
  });

  it('does not deny by default where the rules say so', () => {
    const open = { ingress: [tcp(443)], enableDefaultDeny: { ingress: false } };
    assert.equal(trace([open]).verdict, 'allowed');
    assert.match(trace([open]).ingress.reason, /do not deny by default/);
    assert.equal(trace([open, { ingress: [tcp(443)] }]).verdict, 'denied');
  });

  it('follows the mode of enforcement and lets the node in', () => {
    assert.equal(trace([], { options: { mode: 'always' } }).verdict, 'denied');
    assert.equal(trace([{ ingressDeny: [ANY] }], { options: { mode: 'never' } }).verdict, 'allowed');
    const closed = [{ ingress: [tcp(443)] }];
    assert.equal(trace(closed, { source: HOST }).verdict, 'allowed');
    assert.equal(trace(closed, { source: HOST, options: { allowLocalhost: 'policy' } }).verdict, 'denied');
    assert.equal(trace([{ ingressDeny: [ANY] }], { source: HOST }).verdict, 'denied');
  });

  it('locks an endpoint without labels, and polices nothing outside the cluster', () => {
    const init = { title: 'init', labels: parseLabels(['reserved:init']), identity: 5 };
    assert.equal(trace([], { destination: init }).verdict, 'denied');
    assert.equal(
      trace([{ subject: makeSelector([]), ingress: [tcp(1)] }], { destination: outside('9.9.9.9/32') })
        .verdict,
      'allowed',
    );
  });

  it('denies peers that fail what a rule requires, whatever allows them', () => {
    const requires = { peers: undefined, ports: undefined, requires: [app('trusted')] };
    const result = trace([{ ingress: [ANY] }, { ingress: [requires] }]);
    assert.equal(result.verdict, 'denied');
    assert.equal(result.ingress.rules[1]?.requires, 'any:app=trusted');
  });

  it('takes only what is allowed whole when no port is asked for', () => {
    assert.equal(trace([{ ingress: [tcp(80)] }], { l4: { kind: 'any' } }).verdict, 'denied');
    assert.equal(trace([{ ingress: [ANY] }], { l4: { kind: 'any' } }).verdict, 'allowed');
  });

  it('tells types of ICMP from ports', () => {
    const echo: RuleItem = { peers: undefined, ports: undefined, icmps: [{ family: 4, type: 8 }] };
    const ask = (family: 4 | 6, type: number) =>
      trace([{ ingress: [echo] }], { l4: { kind: 'icmp', family, type } }).verdict;
    assert.deepEqual([ask(4, 8), ask(4, 0), ask(6, 8)], ['allowed', 'denied', 'denied']);
    assert.equal(
      trace([{ ingress: [tcp(80)] }], { l4: { kind: 'icmp', family: 4, type: 8 } }).verdict,
      'denied',
    );
  });

  it('finds a named port by what the destination calls it', () => {
    const named = {
      peers: undefined,
      ports: [{ ports: [{ port: 'http', endPort: undefined, protocol: 'TCP' as const }] }],
    };
    const destination = { ...pod('web'), namedPorts: [{ name: 'http', protocol: 6, port: 80 }] };
    assert.equal(trace([{ ingress: [named] }], { destination }).verdict, 'allowed');
    assert.match(reasons(trace([{ ingress: [named] }])).join(), /no port named http/);
  });
});

describe('tracePolicy with peers outside the cluster', () => {
  const sets = (cidr: string, ...except: string[]): Partial<Rule> => ({
    subject: app('client'),
    egress: [
      {
        peers: {
          kind: 'cidr-sets',
          sets: [{ kind: 'cidr', cidr: parseCidr(cidr), except: except.map(parseCidr) }],
        },
        ports: undefined,
      },
    ],
  });
  const to = (rules: readonly Partial<Rule>[], destination: TraceParty, options = {}) =>
    trace(rules, { destination, options }).verdict;

  it('matches prefixes but not their exceptions, and never endpoints', () => {
    const rules = [sets('10.0.0.0/8', '10.1.0.0/16')];
    assert.equal(to(rules, outside('10.2.0.1/32')), 'allowed');
    assert.equal(to(rules, outside('10.1.0.1/32')), 'denied');
    assert.equal(to(rules, outside('11.0.0.1/32')), 'denied');
    // A prefix that is partly excepted is not allowed as a whole.
    assert.equal(to(rules, outside('10.0.0.0/8')), 'denied');
    const result = trace(rules, { destination: pod('web') });
    assert.match(reasons(result, 'egress').join(), /never match endpoints/);
  });

  it('matches names that were looked up', () => {
    const names = [{ kind: 'pattern', pattern: '*.example.com' }] as const;
    const rules = [
      { subject: app('client'), egress: [{ peers: { kind: 'fqdns', names } as const, ports: undefined }] },
    ];
    assert.equal(to(rules, outside('9.9.9.9/32', ['www.example.com'])), 'allowed');
    assert.equal(to(rules, outside('9.9.9.9/32', ['example.com'])), 'denied');
    assert.equal(to(rules, outside('9.9.9.9/32')), 'denied');
  });

  it('resolves CIDR groups and services by what is known of them', () => {
    const inventory: PolicyInventory = {
      cidrGroups: [{ name: 'office', labels: [], cidrs: [parseCidr('192.0.2.0/24')] }],
      services: [{ name: 'db', namespace: 'x', labels: [], selector: undefined }],
      addresses: [
        {
          name: 'db',
          namespace: 'x',
          kind: 'endpoints',
          service: 'db',
          addresses: [Uint8Array.of(9, 9, 9, 9)],
        },
      ],
    };
    const group = {
      peers: { kind: 'cidr-sets', sets: [{ kind: 'group', name: 'office', except: [] }] },
      ports: undefined,
    } as const;
    const service = {
      peers: { kind: 'services', services: [{ kind: 'name', name: 'db', namespace: 'x' }] },
      ports: undefined,
    } as const;
    const rules = [{ subject: app('client'), egress: [group, service] }];
    assert.equal(to(rules, outside('192.0.2.7/32'), { inventory }), 'allowed');
    assert.equal(to(rules, outside('9.9.9.9/32'), { inventory }), 'allowed');
    assert.equal(to(rules, outside('9.9.9.8/32'), { inventory }), 'denied');
    const unknown = trace(rules, { destination: outside('192.0.2.7/32') });
    assert.match(reasons(unknown, 'egress').join(), /CIDR group office is not known/);
  });
});

describe('tracePolicy with requests', () => {
  const request = (isAllowedBy: TracedRequest['isAllowedBy']): TracedRequest => {
    const same: TracedRequest = { isAllowedBy, leftBy: () => ({ request: same, changes: [] }) };
    return same;
  };
  const asked = (allowed: boolean) => ({ options: { request: request(() => allowed) } });

  it('redirects, and leaves the verdict to the proxy without a request', () => {
    const result = trace([{ ingress: [withL7(HTTP)] }]);
    assert.equal(result.verdict, 'redirected');
    assert.match(result.ingress.reason, /judges each request/);
  });

  it('denies a request that no rule allows, and allows one that any rule does', () => {
    assert.equal(trace([{ ingress: [withL7(HTTP)] }], asked(false)).verdict, 'denied');
    assert.equal(trace([{ ingress: [withL7(HTTP)] }], asked(true)).verdict, 'redirected');
  });

  it('lets every request pass that an entry without L7 rules covers, or that nothing denies by default', () => {
    assert.equal(
      trace([{ ingress: [withL7(HTTP)] }, { ingress: [tcp(80)] }], asked(false)).verdict,
      'redirected',
    );
    const open = { ingress: [withL7(HTTP)], enableDefaultDeny: { ingress: false } };
    assert.equal(trace([open], asked(false)).verdict, 'redirected');
  });

  describe('that rules of the source change', () => {
    /** Every rule lets it pass before the change, none afterwards. */
    const changing: TracedRequest = {
      isAllowedBy: () => true,
      leftBy: () => ({ request: request(() => false), changes: ['X: 1 added'] }),
    };
    const options = { request: changing };
    const client = { subject: app('client'), egress: [withL7(HTTP)] };

    it('shows the destination the request as they leave it', () => {
      const { verdict, egress, ingress } = trace([client, { ingress: [withL7(HTTP)] }], { options });
      assert.deepEqual([egress.verdict, ingress.verdict, verdict], ['redirected', 'denied', 'denied']);
      assert.deepEqual(egress.changes, ['X: 1 added']);
      assert.match(egress.reason, /lets the request pass and changes it: X: 1 added$/);
    });

    it('shows it as it was when no rule of the source has a say, or one lets every request pass', () => {
      const alone = trace([{ ingress: [withL7(HTTP)] }], { options });
      assert.deepEqual([alone.egress.verdict, alone.verdict], ['allowed', 'redirected']);
      for (const open of [
        { ...client, egress: [withL7(HTTP), tcp(80)] },
        { ...client, enableDefaultDeny: { egress: false } },
      ]) {
        const { verdict, egress } = trace([open, { ingress: [withL7(HTTP)] }], { options });
        assert.deepEqual([verdict, egress.changes], ['redirected', undefined]);
      }
    });
  });

  it('lets TLS pass by names of servers alone, and by none of them where another parser judges', () => {
    const names = withL7({ kind: 'tls', rules: ['a.b'] });
    const tls = (is: boolean) => ({
      options: { request: request(({ kind }) => is && kind === 'tls'), speaksTls: true },
    });
    assert.equal(trace([{ ingress: [names] }], tls(true)).verdict, 'redirected');
    assert.equal(trace([{ ingress: [names] }], tls(false)).verdict, 'denied');
    assert.equal(trace([{ ingress: [names, tcp(80)] }], tls(false)).verdict, 'redirected');
    for (const beside of [[names], [tcp(80)], []]) {
      const { verdict, ingress } = trace([{ ingress: [withL7(HTTP), ...beside] }], tls(true));
      assert.equal(verdict, 'denied');
      assert.match(ingress.reason, /connections there are of http: the proxy refuses TLS/);
    }
  });
});
