import { ApiError } from '../../api/operations.ts';
import type { ConfigView } from '../config-view.ts';
import type { FqdnManager } from '../fqdn-manager.ts';
import type { Ipcache } from '../ipcache.ts';
import type { PolicyActivity } from '../policy-activity.ts';
import type { StatusDeps } from '../status.ts';

/** What the agent's REST API rests on. */
export interface OperationsDeps extends StatusDeps {
  readonly ipcache: Ipcache;
  readonly activity: PolicyActivity;
  readonly fqdn: FqdnManager;
  readonly config: ConfigView;
  readonly metricsText: () => Promise<string>;
}

export function notFound(what: string): ApiError {
  return new ApiError(404, what);
}

/** @throws ApiError 503 */
export function refuseWhileStarting({ started }: OperationsDeps): void {
  if (!started()) throw new ApiError(503, 'the agent is still starting');
}

export function isEnforcing({ datapath }: OperationsDeps): boolean {
  return datapath.kind === 'bpf';
}
