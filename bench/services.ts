/**
 * What a connection costs more for being to a service: TCP connections between two pods of a node, one after the other,
 * each with a byte there and a byte back, directly and through a service; with 1 and with 10,000 services. Beside it the
 * kernel's own NAT by nftables in front of pods that no datapath of ours knows: rule by rule, as kube-proxy has it with
 * iptables, with 1 and with 1,000 services, and by one map of 10,000. Client and server share one CPU; rounds are
 * interleaved, medians count. Needs root, BPF and nft.
 *
 * Aims: what is added is not above that of nft by a map, and with 10,000 services at most 1.1 of what it is with 1.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIp } from '../src/base/ip.ts';
import { runChecked } from '../src/base/run.ts';
import { EMPTY_MAP_STATE } from '../src/model/map-state.ts';
import { DatapathLab, type Pod, ROUTER4 } from '../test/support/datapath-lab.ts';
import { whyNoBpf } from '../test/support/privilege.ts';
import { type BenchRow, interleave, median, report, type Variant } from './support/measure.ts';

const ROUNDS = 9;
const CONNECTIONS = 4000;
const MANY = 10_000;
const MANY_RULES = 1000;
const OPEN = { ingress: false, egress: false };
const PORT = 80;
const BACKEND_PORT = 8080;

/** Address of the i-th service. */
function address(i: number): string {
  return `10.96.${i >> 8}.${i & 255}`;
}

class ServiceBench {
  readonly lab = new DatapathLab('w');
  readonly folder = mkdtempSync(join(tmpdir(), 'ciliate-bench-'));
  readonly #program = join(this.folder, 'connects');
  /** Of our datapath, and of none. */
  ours: readonly [Pod, Pod] | undefined;
  plain: readonly [Pod, Pod] | undefined;

  async start(): Promise<void> {
    await runChecked(['cc', '-O2', '-o', this.#program, join(import.meta.dirname, 'support', 'connects.c')]);
    const { lab } = this;
    await lab.start();
    this.ours = [await lab.pod(10, 1000), await lab.pod(11, 2000)];
    for (const { endpoint } of this.ours) {
      await lab.datapath.attachEndpoint(endpoint);
      await lab.datapath.applyPolicy(endpoint.id, EMPTY_MAP_STATE, OPEN);
    }
    this.plain = [await lab.pod(12, 3000), await lab.pod(13, 4000)];
    await lab.net.ip('-n', lab.node, 'address', 'add', `${ROUTER4}/32`, 'dev', 'lo');
  }

  async cleanUp(): Promise<void> {
    await this.lab.cleanUp();
    rmSync(this.folder, { recursive: true });
  }

  /** @returns microseconds of a connection */
  async connect([from, to]: readonly [Pod, Pod], service?: string): Promise<number> {
    const [server, client] = [this.lab.net.path(to.namespace), this.lab.net.path(from.namespace)];
    const where = service === undefined ? [to.ipv4, String(BACKEND_PORT)] : [service, String(PORT)];
    const words = [server, client, ...where, String(CONNECTIONS), String(BACKEND_PORT)];
    const output = await runChecked([this.#program, ...words], { timeoutMs: 60_000 });
    return Number(output) / 1000;
  }

  async balance(count: number, to: Pod): Promise<void> {
    const { datapath } = this.lab;
    await datapath.retainServices([]);
    for (let i = 0; i < count; i++) {
      await datapath.upsertService({
        ...{ id: i + 1, type: 'ClusterIP', affinitySeconds: 0 },
        frontend: { address: parseIp(address(i)), port: PORT, protocol: 'TCP' },
        backends: [{ address: parseIp(to.ipv4), port: BACKEND_PORT, state: 'active' }],
      });
    }
  }

  /** Replaces the node's table of services. */
  async nft(rules: string): Promise<void> {
    const file = join(this.folder, 'services.nft');
    writeFileSync(file, `table ip services\ndelete table ip services\ntable ip services {\n${rules}\n}\n`);
    await runChecked(['nsenter', `--net=${this.lab.net.path(this.lab.node)}`, 'nft', '-f', file]);
  }
}

const CHAIN = 'type nat hook prerouting priority dstnat';

/** One rule a service; the last one is asked. */
function byRules(count: number, to: Pod): string {
  const rules = Array.from(
    { length: count },
    (_, i) => `ip daddr ${address(i)} tcp dport ${PORT} dnat to ${to.ipv4}:${BACKEND_PORT}`,
  );
  return `chain services { ${CHAIN};\n${rules.join('\n')}\n}`;
}

function byMap(count: number, to: Pod): string {
  const entries = Array.from(
    { length: count },
    (_, i) => `${address(i)} . ${PORT} : ${to.ipv4} . ${BACKEND_PORT}`,
  );
  const map = `map backends { type ipv4_addr . inet_service : ipv4_addr . inet_service;\nelements = { ${entries.join(', ')} } }`;
  return `${map}\nchain services { ${CHAIN};\ndnat ip to ip daddr . tcp dport map @backends\n}`;
}

function variants(bench: ServiceBench): readonly Variant[] {
  const { ours, plain } = bench;
  if (ours === undefined || plain === undefined) throw new Error('not started');
  const through = (count: number): Variant => ({
    name: `service ${count}`,
    run: async () => {
      await bench.balance(count, ours[1]);
      return bench.connect(ours, address(count - 1));
    },
  });
  const nft = (name: string, rules: string, last: number): Variant => ({
    name,
    run: async () => {
      await bench.nft(rules);
      return bench.connect(plain, address(last));
    },
  });
  return [
    { name: 'direct', run: () => bench.connect(ours) },
    through(1),
    through(MANY),
    {
      name: 'nft direct',
      run: async () => {
        await bench.nft('');
        return bench.connect(plain);
      },
    },
    nft('rule 1', byRules(1, plain[1]), 0),
    nft('rule many', byRules(MANY_RULES, plain[1]), MANY_RULES - 1),
    nft('map', byMap(MANY, plain[1]), MANY - 1),
  ];
}

function print(figures: ReadonlyMap<string, readonly number[]>): void {
  const of = (name: string): number => median(figures.get(name) ?? []);
  const added = of('service 1') - of('direct');
  const many = of(`service ${MANY}`) - of('direct');
  const map = of('map') - of('nft direct');
  const rows: BenchRow[] = [
    { what: 'directly', value: of('direct'), unit: 'us' },
    { what: 'to a service adds, of 1', value: added, unit: 'us' },
    { what: `to a service adds, of ${MANY}`, value: many, unit: 'us' },
    { what: 'directly, through the kernel alone', value: of('nft direct'), unit: 'us' },
    { what: 'nft by rules adds, of 1', value: of('rule 1') - of('nft direct'), unit: 'us' },
    { what: `nft by rules adds, of ${MANY_RULES}`, value: of('rule many') - of('nft direct'), unit: 'us' },
    { what: `nft by a map adds, of ${MANY}`, value: map, unit: 'us' },
    { what: 'added, over nft by a map', value: many / map, unit: 'x', aim: '<= 1' },
    {
      what: `a connection to one of ${MANY} over one of 1`,
      value: of(`service ${MANY}`) / of('service 1'),
      unit: 'x',
      aim: '<= 1.1',
    },
  ];
  report('TCP connections with one byte there and back, directly and to a service', rows);
}

const missing = whyNoBpf();
if (missing !== undefined) {
  console.log(`skipped: ${missing}`);
} else {
  const bench = new ServiceBench();
  try {
    await bench.start();
    print(await interleave(variants(bench), ROUNDS));
  } finally {
    await bench.cleanUp();
  }
}
