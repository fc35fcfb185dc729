import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '../base/errors.ts';
import type { NodePaths } from '../base/paths.ts';
import { run, runChecked } from '../base/run.ts';
import type { Datapath } from '../datapath/types.ts';
import type { Store } from '../store/types.ts';
import { HEALTH_INTERFACE } from './health-endpoint.ts';
import type { NetworkSetup } from './network-setup.ts';
import { openStateFolder } from './state-folder.ts';
import type { SurvivingProcess } from './surviving-process.ts';

export interface CleanupOptions {
  readonly paths: NodePaths;
  readonly nodeName: string;
  /** Name of the health endpoint's network namespace. */
  readonly healthNetns: string;
}

export interface CleanupDeps {
  readonly datapath: Datapath;
  readonly network: NetworkSetup;
  readonly healthProcess: SurvivingProcess;
  readonly proxyProcess: SurvivingProcess;
  /** Undefined when nobody else uses the store: it goes with the state folder. */
  readonly store: Store | undefined;
}

/** One thing that was to be removed; `failure` says why it could not be. */
export interface CleanupStep {
  readonly what: string;
  readonly failure: string | undefined;
}

/** Files of the state folder that are ours. Logs stay: they tell what happened. */
const OURS =
  /^(agent\.json|endpoints|pid|(policy(\.backup)?|proxy-ports|local-identities|fqdn-cache|inventory|services)\.json.*|(ciliate|events|health|proxy)\.sock|store\.db.*)$/;

function removeState(paths: NodePaths, keepStore: boolean): void {
  for (const name of existsSync(paths.stateDir) ? readdirSync(paths.stateDir) : []) {
    if (!OURS.test(name) || (keepStore && name.startsWith('store.db'))) continue;
    rmSync(join(paths.stateDir, name), { recursive: true, force: true });
  }
}

async function removeHealthEndpoint(netns: string): Promise<void> {
  await run(['ip', 'link', 'delete', 'dev', HEALTH_INTERFACE]);
  if (existsSync(`/run/netns/${netns}`)) await runChecked(['ip', 'netns', 'delete', netns]);
}

async function leaveCluster(store: Store, node: string): Promise<void> {
  try {
    await store.start();
    await store.replaceIps(node, []);
    await store.deleteNode(node);
  } finally {
    await store.stop();
  }
}

/**
 * Removes everything that an agent made on its node: health process and endpoint, routes, pinned programs and maps, its
 * part of the cluster's state, its files. From then on nothing is enforced here. One step that fails stops no other.
 * @throws SystemError code STATE_IN_USE while an agent runs: nothing was removed then
 */
export async function cleanUpNode(
  options: CleanupOptions,
  deps: CleanupDeps,
): Promise<readonly CleanupStep[]> {
  const { paths, nodeName, healthNetns } = options;
  const unlock = openStateFolder(paths);
  const steps: CleanupStep[] = [];
  const step = async (what: string, action: () => unknown): Promise<void> => {
    try {
      await action();
      steps.push({ what, failure: undefined });
    } catch (error) {
      steps.push({ what, failure: errorText(error) });
    }
  };
  const { store } = deps;
  await step('health process', () => deps.healthProcess.stop());
  await step('proxy process', () => deps.proxyProcess.stop());
  await step('routes', () => deps.network.removeAll());
  await step('programs and maps', () => deps.datapath.destroy());
  await step('health endpoint', () => removeHealthEndpoint(healthNetns));
  if (store !== undefined) await step('node in the store', () => leaveCluster(store, nodeName));
  unlock();
  await step('state', () => removeState(paths, store !== undefined));
  rmSync(join(paths.stateDir, 'agent.lock'), { force: true });
  if (existsSync(paths.stateDir) && readdirSync(paths.stateDir).length === 0) rmdirSync(paths.stateDir);
  return steps;
}
