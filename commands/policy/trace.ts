import * as Flags from '@oclif/core/flags';
import type { AgentClient } from '../../src/api/client.ts';
import { ExitCode } from '../../src/base/errors.ts';
import type { TraceQuery, TraceResult } from '../../src/policy/index.ts';
import { type TraceView, traceText } from '../../src/view/trace.ts';
import { BaseCommand } from '../base.ts';
import { readPolicyFiles } from '../support/policy-files.ts';
import { parseTraceL4 } from '../support/trace-l4.ts';
import type { NamedParty } from '../support/trace-party.ts';
import { traceRequest } from '../support/trace-request.ts';

const text = (description: string, helpValue: string) => Flags.string({ description, helpValue });
const labels = (char: 's' | 'd', who: string) =>
  Flags.string({
    char,
    description: `labels of the ${who}`,
    helpValue: 'LABEL',
    multiple: true,
    multipleNonGreedy: true,
  });

export default class PolicyTrace extends BaseCommand<typeof PolicyTrace> {
  static override summary =
    'Say whether the rules allow traffic, which of them decide, and why the others do not match';
  static override description =
    'Both ends are judged: egress of the source and ingress of the destination. Labels stand for the identities that carry them; those that none carries, or without an agent, for one that has just these: what else rules ask for is told. With --policy no agent is needed. Exits 0 when the traffic is allowed, 1 when it is denied.';
  static override usage =
    'policy trace --src LABEL | --src-... --dst LABEL | --dst-... [--dport PORT] [--http REQUEST | --dns NAME | --server-name NAME] [flags]';
  static override examples = [
    '<%= config.bin %> policy trace --src class=xwing --dst class=deathstar --dport 80',
    "<%= config.bin %> policy trace --src-endpoint 12 --dst-k8s-pod default/deathstar --dport 80/tcp --http 'PUT /v1/exhaust-port'",
    '<%= config.bin %> policy trace -s app=web --dst-fqdn api.example.org --dport 443 --server-name api.example.org',
    '<%= config.bin %> policy trace --policy rule1.yaml --src k8s:app=web --dst-ip 10.0.0.7 --dport icmp/8',
  ];
  static override flags = {
    src: labels('s', 'source'),
    'src-identity': text('identity of the source', 'NUMBER'),
    'src-endpoint': text('the source is this endpoint', 'ENDPOINT'),
    'src-k8s-pod': text('the source is this pod', 'NAMESPACE/NAME'),
    'src-ip': text('address or prefix of the source', 'ADDRESS'),
    dst: labels('d', 'destination'),
    'dst-identity': text('identity of the destination', 'NUMBER'),
    'dst-endpoint': text('the destination is this endpoint', 'ENDPOINT'),
    'dst-k8s-pod': text('the destination is this pod', 'NAMESPACE/NAME'),
    'dst-ip': text('address or prefix of the destination', 'ADDRESS'),
    'dst-fqdn': text('name of a destination outside the cluster', 'NAME'),
    dport: text(
      'port of the destination, or a type of ICMP (default: traffic of every kind)',
      'PORT[/PROTOCOL]',
    ),
    http: Flags.string({
      description: "a request: 'PUT /v1/exhaust-port'",
      helpValue: "'METHOD URL'",
      exclusive: ['dns'],
    }),
    header: Flags.string({
      description: 'a header of the request',
      helpValue: "'NAME: VALUE'",
      multiple: true,
      multipleNonGreedy: true,
      dependsOn: ['http'],
    }),
    dns: Flags.string({ description: 'a name that is asked for', helpValue: 'NAME' }),
    'server-name': Flags.string({
      description: 'the server that TLS asks for (SNI)',
      helpValue: 'NAME',
      exclusive: ['http', 'dns'],
    }),
    policy: Flags.string({
      description: 'trace these files instead of the rules of the agent, without an agent',
      helpValue: 'FILE|FOLDER|-',
      multiple: true,
      multipleNonGreedy: true,
    }),
    namespace: Flags.string({
      description: 'namespace of objects and labels that name none',
      default: 'default',
    }),
    verbose: Flags.boolean({ char: 'v', description: 'also rules that are for others' }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    const l4 = parseTraceL4(flags.dport);
    const request = traceRequest({
      http: flags.http,
      headers: flags.header ?? [],
      dns: flags.dns,
      serverName: flags['server-name'],
    });
    const [{ l4Text, traceHinges }, { chooseTrace }] = await Promise.all([
      import('../../src/policy/index.ts'),
      import('../support/trace-choice.ts'),
    ]);
    const { rulesOfAgent, rulesOfTexts, settingsOf, withNamespace } = await import(
      '../support/trace-rules.ts'
    );
    const files = flags.policy === undefined ? undefined : await readPolicyFiles(flags.policy);
    const agent = files === undefined ? (await this.clients()).agent : undefined;
    const { source, destination, notes } = await this.#parties(agent);
    notes.push(...(await this.#serviceNotes(agent, destination, l4)));
    const { rules, inventory } =
      agent === undefined ? rulesOfTexts(files ?? [], flags.namespace) : await rulesOfAgent(agent);
    const settings = await settingsOf(agent);
    const named = (end: NamedParty): NamedParty => ({
      ...end,
      party: withNamespace(end.party, { rules, notes, ...flags }),
    });
    const options = { ...settings, inventory, request, speaksTls: flags['server-name'] !== undefined };
    const ends = { source: named(source), destination: named(destination) };
    const { query, result } = chooseTrace(ends, { rules, l4, options, notes });
    const dependsOn = traceHinges(rules, query, options);
    if (result.verdict === 'denied') this.exitWith(ExitCode.finding);
    await this.#show(query, result, { notes, traffic: l4Text(l4), dependsOn });
  }

  async #serviceNotes(
    agent: AgentClient | undefined,
    { party }: NamedParty,
    l4: TraceQuery['l4'],
  ): Promise<readonly string[]> {
    const ip = this.flags['dst-ip'];
    if (agent === undefined || ip === undefined) return [];
    const { serviceNotes } = await import('../support/trace-services.ts');
    const isNode = party.labels.some(
      ({ source, key }) => source === 'reserved' && (key === 'host' || key === 'remote-node'),
    );
    return serviceNotes(await agent.services(), { ip, isNode, l4 });
  }

  async #parties(agent: AgentClient | undefined) {
    const { flags } = this;
    const { Parties } = await import('../support/trace-party.ts');
    const parties = new Parties(agent);
    const source = await parties.resolve(
      {
        labels: flags.src,
        identity: flags['src-identity'],
        endpoint: flags['src-endpoint'],
        pod: flags['src-k8s-pod'],
        ip: flags['src-ip'],
      },
      'src',
    );
    const destination = await parties.resolve(
      {
        labels: flags.dst,
        identity: flags['dst-identity'],
        endpoint: flags['dst-endpoint'],
        pod: flags['dst-k8s-pod'],
        ip: flags['dst-ip'],
        fqdn: flags['dst-fqdn'],
      },
      'dst',
    );
    return { source, destination, notes: parties.notes };
  }

  async #show(
    { source, destination }: TraceQuery,
    result: TraceResult,
    extra: Pick<TraceView, 'notes' | 'traffic' | 'dependsOn'>,
  ): Promise<void> {
    const { traceView } = await import('../../src/policy/index.ts');
    const { http, dns, 'server-name': serverName } = this.flags;
    const named = dns === undefined ? undefined : `for the name ${dns}`;
    const view = {
      from: source.title,
      to: destination.title,
      request: http ?? named ?? (serverName === undefined ? undefined : `TLS to ${serverName}`),
      ...traceView(result),
      ...extra,
    };
    await this.print(view, () => traceText(view, { verbose: this.flags.verbose }));
  }
}
