import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { packageRoot } from '../base/assets.ts';
import { writeFileAtomically } from '../base/atomic-file.ts';
import { makeFolder } from '../base/make-folder.ts';
import { ciliate } from './agent-process.ts';
import { DEATHSTAR_PORT, type PodState } from './deathstar.ts';
import type { Lab } from './lab.ts';
import { tailOf, waitFor } from './processes.ts';
import type { WorkloadRecord } from './record.ts';
import type { ShipOutcome } from './ship.ts';

/** The workloads of the walk-through: two deathstars, one a node, and two ships. */
export const STAR_WARS_WORKLOADS = [
  { name: 'deathstar-1', node: 'node1', labels: ['k8s:org=empire', 'k8s:class=deathstar'] },
  { name: 'deathstar-2', node: 'node2', labels: ['k8s:org=empire', 'k8s:class=deathstar'] },
  { name: 'tiefighter', node: 'node1', labels: ['k8s:org=empire', 'k8s:class=tiefighter'] },
  { name: 'xwing', node: 'node2', labels: ['k8s:org=alliance', 'k8s:class=xwing'] },
] as const;

export const DEATHSTARS = ['deathstar-1', 'deathstar-2'] as const;
export const SHIPS = ['tiefighter', 'xwing'] as const;
const SERVER_START_MS = 15_000;
/** A SYN is sent again after one second: two seconds see two of them dropped. */
export const LANDING_TIMEOUT_MS = 2000;
/** What a ship's process needs beyond its own deadline to start and print. */
const PROCESS_SLACK_MS = 20_000;

/**
 * The L3/L4 policy of the walk-through: only the empire's ships reach port 80 of the deathstars. A path from the working
 * folder where that is shorter, as somebody would type it.
 */
export function rule1File(): string {
  return exampleFile('sw_l3_l4_policy.yaml');
}

/** Its successor of the same name: of what the empire's ships may ask of port 80, a landing is left. */
export function l7Rule1File(): string {
  return exampleFile('sw_l3_l4_l7_policy.yaml');
}

/** The service of the walk-through: one address of each family for both deathstars. */
export function serviceFile(): string {
  return exampleFile('deathstar_service.yaml');
}

function exampleFile(name: string): string {
  const file = join(packageRoot(), 'deploy/examples/star-wars', name);
  const near = relative(process.cwd(), file);
  return near.startsWith('..') ? file : near;
}

function podFile(lab: Lab, workload: string, name: string): string {
  return join(lab.layout.dir, 'pods', workload, name);
}

/** Replaces the file whole: somebody may be reading it. */
export function writePodState(file: string, state: PodState): void {
  writeFileAtomically(file, `${JSON.stringify(state)}\n`);
}

/** What a workload's supervisor last wrote; running and never restarted for one that runs no program. */
export function podStateOf(lab: Lab, workload: string): PodState {
  const file = podFile(lab, workload, 'state.json');
  if (!existsSync(file)) return { restarts: 0, status: 'Running' };
  const { restarts, status }: Partial<PodState> = JSON.parse(readFileSync(file, 'utf8'));
  return { restarts: restarts ?? 0, status: status ?? 'Error' };
}

async function startDeathstar(lab: Lab, name: string): Promise<void> {
  const output = podFile(lab, name, 'output');
  makeFolder(join(lab.layout.dir, 'pods', name));
  const words = ['lab', 'serve', `--port=${DEATHSTAR_PORT}`, `--state=${podFile(lab, name, 'state.json')}`];
  await lab.runIn(name, ciliate(...words), output);
  await waitFor({ what: `${name} serves\n${tailOf(output)}`, timeoutMs: SERVER_START_MS, everyMs: 50 }, () =>
    tailOf(output).includes('deathstar ready') ? true : undefined,
  );
}

/** The node that a workload is put on: the wanted one, or the last of a lab that has fewer. */
export function placeOf(wanted: string, nodes: readonly { readonly name: string }[]): string {
  return nodes.some(({ name }) => name === wanted) ? wanted : (nodes.at(-1)?.name ?? wanted);
}

/** Makes the workloads on the first two nodes, or on the only one; with namespaces, also starts the deathstars' servers. */
export async function startStarWars(lab: Lab, onProgress: (text: string) => void): Promise<void> {
  for (const { name, node: wanted, labels } of STAR_WARS_WORKLOADS) {
    const node = placeOf(wanted, lab.layout.nodes);
    onProgress(`endpoint ${name} on ${node}`);
    await lab.addWorkload({ name, node, labels });
  }
  if (lab.layout.nodes.some(({ netns }) => netns === undefined)) return;
  await Promise.all(DEATHSTARS.map((name) => startDeathstar(lab, name)));
}

/** `http://10.0.0.1:80/path`, an IPv6 address in brackets. */
export function deathstarUrl(target: WorkloadRecord, family: 4 | 6, path: string): string {
  const host = family === 4 ? target.ipv4 : `[${target.ipv6}]`;
  return `http://${host}:${DEATHSTAR_PORT}${path}`;
}

function isOutcome(value: unknown): value is ShipOutcome {
  return typeof value === 'object' && value !== null && 'kind' in value;
}

/** Sends a request from inside a workload's namespace, by a process of its own as `kubectl exec` would. */
export async function sendFrom(lab: Lab, from: string, method: string, url: string): Promise<ShipOutcome> {
  const words = ['lab', 'send', method, url, `--timeout-ms=${LANDING_TIMEOUT_MS}`, '-o', 'json'];
  const result = await lab.exec(from, ciliate(...words), LANDING_TIMEOUT_MS + PROCESS_SLACK_MS);
  const line = result.stdout.trim();
  const outcome: unknown = line === '' ? undefined : JSON.parse(line);
  if (isOutcome(outcome)) return outcome;
  throw new Error(`${from} sent nothing: exit ${result.exitCode ?? 'by signal'}: ${result.stderr.trim()}`);
}

export interface Landing {
  readonly from: string;
  readonly to: string;
  readonly family: 4 | 6;
  readonly outcome: ShipOutcome;
}

/** Whether the ship got the answer that a deathstar gives to a landing. */
export function hasLanded({ outcome }: Landing): boolean {
  return outcome.kind === 'answer' && outcome.status === 200 && outcome.body === 'Ship landed\n';
}

/** Asks every deathstar for a landing over both families, one after the other. */
export async function requestLandings(lab: Lab, from: string): Promise<readonly Landing[]> {
  const landings: Landing[] = [];
  for (const to of DEATHSTARS) {
    for (const family of [4, 6] as const) {
      const url = deathstarUrl(lab.workload(to), family, '/v1/request-landing');
      landings.push({ from, to, family, outcome: await sendFrom(lab, from, 'POST', url) });
    }
  }
  return landings;
}
