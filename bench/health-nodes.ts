/**
 * What it takes a running health agent that 10,000 nodes come to its list at once: processor time, the longest turn of its
 * event loop, how long a peer waits for /hello meanwhile, and memory. Each run is a process of its own in a network
 * namespace; the peers' kernels, programs and agents are one other namespace. `--tree=FOLDER` runs the sources there in
 * turns with these; `--nodes=N`, `--rounds=N`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { missingForNamespaces } from '../src/lab/requirements.ts';
import { element } from '../test/health/fakes.ts';
import { EngineLab } from './support/engine-lab.ts';
import { interleave, median, report } from './support/measure.ts';
import type { NodesOutcome, NodesTask } from './support/nodes-child.ts';

const CHILD = join(import.meta.dirname, 'support', 'nodes-child.ts');
const TREE = join(import.meta.dirname, '..');
const AGENT = '10.99.0.1';

/** The peers' agents, and one that asks ours every 10 ms: prints how long it waited at most, when its input ends. */
const PEERS = `
const http = require('node:http');
http.createServer((_, answer) => answer.end('{}')).listen(4240, '0.0.0.0', () => console.log('up'));
let longest = 0, failed = 0;
const ask = () => {
  const from = performance.now();
  const done = () => { longest = Math.max(longest, performance.now() - from); setTimeout(ask, 10); };
  http.get({ host: '${AGENT}', port: 4240, path: '/hello', timeout: 10000, agent: false }, (answer) => answer.resume().on('end', done))
    .on('error', () => { failed++; done(); });
};
process.stdin.once('data', () => { longest = 0; failed = 0; ask(); });
process.stdin.on('end', () => { console.log(JSON.stringify({ longest, failed })); process.exit(); });
`;

interface Outcome extends NodesOutcome {
  readonly helloMs: number;
}

function option(name: string, otherwise: string): string {
  const word = process.argv.find((one) => one.startsWith(`--${name}=`));
  return word === undefined ? otherwise : word.slice(name.length + 3);
}

const COUNT = Number(option('nodes', '10000'));
const ROUNDS = Number(option('rounds', '3'));
const PROFILE = option('profile', '');
const address = (i: number): string => `10.77.${i >> 8}.${i & 255}`;
const NODES = Array.from({ length: COUNT }, (_, i) => element(`node-${i}`, address(i), address(i + 30_000)));
const SELF = element('self', AGENT);

/** What an agent answers that knows only itself, until it is told of all. */
class FakeAgent {
  isGrown = false;
  readonly #server: Server;

  constructor(socket: string) {
    this.#server = createServer((request, answer) => {
      const told = request.headers['client-id'] === '2' ? [] : this.isGrown ? NODES : [SELF];
      const id = this.isGrown ? 2 : 1;
      const added = request.headers['client-id'] === '1' && !this.isGrown ? [] : told;
      const whole = this.isGrown && added.length > 0 ? [SELF, ...added] : added;
      answer.setHeader('content-type', 'application/json');
      answer.end(
        JSON.stringify({ 'client-id': id, self: 'self', 'nodes-added': whole, 'nodes-removed': [] }),
      );
    }).listen(socket);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function start(
  netns: string,
  words: readonly string[],
): { child: ChildProcess; line: () => Promise<string> } {
  const argv = [`--net=${netns}`, process.execPath, ...words];
  const child = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  if (child.stdout === null) throw new Error('no output');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => String((await lines.next()).value) };
}

async function measure(lab: EngineLab, tree: string): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nodes-'));
  mkdirSync(join(folder, 'pid'));
  const task: NodesTask = { tree, stateDir: folder, self: 'self', host: AGENT };
  const agent = new FakeAgent(join(folder, 'ciliate.sock'));
  const flags =
    PROFILE === ''
      ? []
      : [`--cpu-prof`, `--cpu-prof-dir=${PROFILE}`, '--heap-prof', `--heap-prof-dir=${PROFILE}`];
  const peers = start(lab.there, ['-e', PEERS]);
  await peers.line();
  const ours = start(lab.here, ['--expose-gc', ...flags, CHILD, JSON.stringify(task)]);
  try {
    await ours.line();
    ours.child.stdin?.write('go\n');
    peers.child.stdin?.write('go\n');
    agent.isGrown = true;
    const outcome = JSON.parse(await ours.line()) as NodesOutcome;
    peers.child.stdin?.end();
    const { longest } = JSON.parse(await peers.line()) as { longest: number };
    ours.child.stdin?.end();
    await once(ours.child, 'exit');
    return { ...outcome, helloMs: longest };
  } finally {
    agent.stop();
    for (const { child } of [peers, ours]) child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

function table(title: string, outcomes: readonly Outcome[]): void {
  const of = (pick: (outcome: Outcome) => number): number => median(outcomes.map(pick));
  report(title, [
    { what: 'paths', value: of(({ paths }) => paths), unit: '' },
    { what: 'reachable at the end', value: of(({ reachable }) => reachable), unit: '' },
    { what: 'called unreachable, wrongly', value: of(({ unreachable }) => unreachable), unit: '' },
    {
      what: "JavaScript's thread, until all paths are open",
      value: of(({ openMs }) => openMs) / 1000,
      unit: 's',
    },
    { what: 'processor time, ten seconds more,', value: of(({ cpuMs }) => cpuMs) / 1000, unit: 's' },
    { what: "of JavaScript's thread", value: of(({ threadMs }) => threadMs) / 1000, unit: 's' },
    { what: 'longest turn', value: of(({ turnMs }) => turnMs), unit: 'ms' },
    {
      what: 'longest turn, processor time',
      value: of(({ turnCpuMs }) => turnCpuMs),
      unit: 'ms',
      aim: '<= 50',
    },
    { what: 'longest wait for /hello', value: of(({ helloMs }) => helloMs), unit: 'ms' },
    {
      what: 'resident memory a node, at most',
      value: of(({ peakBytes }) => peakBytes) / COUNT / 1024,
      unit: 'KiB',
    },
    { what: 'at the end', value: of(({ residentBytes }) => residentBytes) / COUNT / 1024, unit: 'KiB' },
    { what: 'heap a node', value: of(({ heapBytes }) => heapBytes) / COUNT / 1024, unit: 'KiB' },
  ]);
}

const missing = missingForNamespaces();
if (missing.length > 0) throw new Error(`cannot run here: ${missing.join(', ')}`);
const trees = [option('tree', ''), TREE].filter((tree) => tree !== '');
const outcomes = new Map<string, Outcome[]>(trees.map((tree) => [tree, []]));
const lab = new EngineLab();
try {
  await lab.setUp(NODES.map((_, i) => address(i)));
  const variants = trees.map((tree) => ({
    name: tree,
    run: async () => {
      const outcome = await measure(lab, tree);
      outcomes.get(tree)?.push(outcome);
      return outcome.cpuMs;
    },
  }));
  await interleave(variants, ROUNDS);
} finally {
  await lab.cleanUp();
}
for (const [tree, all] of outcomes)
  table(`${COUNT} new nodes at once: ${tree === TREE ? 'these sources' : tree}`, all);
