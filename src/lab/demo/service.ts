import { agentClient } from '../agent-process.ts';
import type { Lab } from '../lab.ts';
import { waitFor } from '../processes.ts';
import { DEATHSTARS, sendFrom, serviceFile } from '../star-wars.ts';
import { showOn } from './cli.ts';
import { type DemoOptions, importPolicy } from './steps.ts';

/** Of deploy/examples/star-wars/deathstar_service.yaml. */
const SERVICE_URLS = ['http://10.109.80.174:80', 'http://[fd00:10:109::80:174]:80'] as const;
const BALANCED_MS = 10_000;

/** Waits until both frontends of the service have both deathstars at every node. */
async function balanced(lab: Lab): Promise<boolean> {
  const ready = async (node: (typeof lab.layout.nodes)[number]): Promise<boolean> => {
    const services = await agentClient(node).services();
    const backends = services.map(({ status }) => status?.realized?.['backend-addresses']?.length ?? 0);
    return backends.length === SERVICE_URLS.length && backends.every((count) => count === DEATHSTARS.length);
  };
  return waitFor({ what: 'the service', timeoutMs: BALANCED_MS }, async () => {
    const all = await Promise.all(lab.layout.nodes.map(ready));
    return all.every(Boolean) ? true : undefined;
  }).catch(() => false);
}

/** Step 4: one address for both deathstars, under the policy that is in force for them. */
export async function showService(lab: Lab, options: DemoOptions): Promise<void> {
  const { report } = options;
  report.step('Service: one address for both deathstars, and the policy that is theirs');
  await importPolicy(lab, options, serviceFile(), 'the service');
  report.check(await balanced(lab), 'the service has both deathstars at every node');
  for (const node of lab.layout.nodes.slice(0, 1)) await showOn(report, node, ['service', 'list']);
  for (const url of SERVICE_URLS) {
    const landing = `${url}/v1/request-landing`;
    const empire = await sendFrom(lab, 'tiefighter', 'POST', landing);
    const landed = empire.kind === 'answer' && empire.status === 200;
    report.check(landed, `tiefighter lands by ${url}`);
    const rebel = await sendFrom(lab, 'xwing', 'POST', landing);
    report.check(
      rebel.kind === 'timeout',
      `xwing times out at ${url}: what policy denies, no service lets in`,
    );
  }
}
