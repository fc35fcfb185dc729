import { once } from 'node:events';
import * as Flags from '@oclif/core/flags';
import { monitorEvents } from '../src/api/events-client.ts';
import { readAgentRecord } from '../src/base/agent-record.ts';
import { UsageError } from '../src/base/errors.ts';
import {
  MONITOR_TYPES,
  type MonitorFilter,
  monitorJson,
  monitorMatches,
  monitorText,
} from '../src/view/monitor.ts';
import { printable } from '../src/view/printable.ts';
import { BaseCommand } from './base.ts';
import { checked } from './support/checked.ts';
import { EventNames } from './support/event-names.ts';
import { interfaceNames } from './support/interface-names.ts';
import { interruptSignal } from './support/interrupt.ts';
import type { OutputFormat } from './support/output.ts';

const endpointFlag = Flags.custom<number>({
  multiple: true,
  multipleNonGreedy: true,
  helpValue: 'ENDPOINT',
  parse: checked((text) => {
    if (/^\d{1,5}$/.test(text)) return Number(text);
    throw new UsageError(`${JSON.stringify(text)} is not the id of an endpoint`, { code: 'ENDPOINT_ID' });
  }),
});

export default class Monitor extends BaseCommand<typeof Monitor> {
  static override summary = 'Show drops, traces, verdicts and what the agent does, as it happens';
  static override description =
    'Ends at Ctrl-C. Events that were lost are counted and always shown. With -o json every line is one JSON object.';
  static override examples = [
    '<%= config.bin %> monitor -t drop',
    '<%= config.bin %> monitor -t l7 --to 5023',
    '<%= config.bin %> monitor --related-to 5023 -o json',
  ];
  static override flags = {
    type: Flags.string({
      char: 't',
      description: 'only events of this type',
      options: [...MONITOR_TYPES],
      multiple: true,
      multipleNonGreedy: true,
    }),
    from: endpointFlag({ description: 'only packets that an endpoint sent' }),
    to: endpointFlag({ description: 'only packets to an endpoint' }),
    'related-to': endpointFlag({ description: 'only packets from or to an endpoint' }),
    verbose: Flags.boolean({ char: 'v', description: 'more about each packet, with its headers' }),
    hex: Flags.boolean({ description: 'the head of each packet in hexadecimal' }),
    numeric: Flags.boolean({
      char: 'n',
      description: 'numbers of interfaces, identities and rules instead of names',
    }),
    json: Flags.boolean({ char: 'j', description: 'the same as -o json', exclusive: ['output'] }),
    count: Flags.integer({ char: 'c', description: 'end after so many events', min: 1 }),
  };

  async run(): Promise<void> {
    const { flags } = this;
    const format: OutputFormat = flags.json ? { kind: 'json' } : this.format;
    if (format.kind !== 'text' && format.kind !== 'json') {
      throw new UsageError('monitor prints text or -o json', { code: 'OUTPUT_FORMAT' });
    }
    const filter: MonitorFilter = {
      types: (flags.type ?? []) as MonitorFilter['types'],
      from: flags.from ?? [],
      to: flags.to ?? [],
      relatedTo: flags['related-to'] ?? [],
    };
    const { verbose, hex, numeric } = flags;
    const byNumber = numeric || format.kind === 'json';
    const agentPid = readAgentRecord(this.paths.stateDir)?.pid;
    const ifname = byNumber ? undefined : await interfaceNames(await this.source(), agentPid);
    const names = byNumber ? undefined : new EventNames((await this.clients()).agent);
    const named = { labelsOf: names?.labels.of, ruleName: names?.rules.of };
    const options = { compat: this.compat, verbose, hex, ifname, ...named };
    let left = flags.count ?? Number.POSITIVE_INFINITY;
    const onOpen = (): void => {
      if (format.kind === 'text') process.stderr.write('Press Ctrl-C to quit\n');
    };
    const stream = { socketPath: this.paths.eventsSocket, signal: interruptSignal(), onOpen };
    for await (const event of monitorEvents(stream)) {
      if (!monitorMatches(event, filter)) continue;
      await names?.prepare(event);
      const text = format.kind === 'json' ? monitorJson(event) : printable(monitorText(event, options));
      if (!process.stdout.write(text)) await once(process.stdout, 'drain');
      left -= 1;
      if (left <= 0) break;
    }
  }
}
