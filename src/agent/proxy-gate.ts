import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ResolvedPolicy } from '../policy/index.ts';
import type { L7Sync } from './l7-sync.ts';
import type { PolicyManager } from './policy-manager.ts';
import type { ProxyPart } from './proxy-part.ts';
import { oncePerState, redirectsIn } from './redirects.ts';

export interface ProxyGateDeps {
  readonly proxy: ProxyPart;
  readonly policy: Pick<PolicyManager, 'needsProxy' | 'setProxyPorts'>;
  readonly l7: L7Sync;
  readonly log: Logger;
}

/** What stands between a policy and the map that sends flows to the proxy. */
export class ProxyGate {
  readonly #deps: ProxyGateDeps;
  readonly #redirectsIn = oncePerState(redirectsIn);
  #ports = '';

  constructor(deps: ProxyGateDeps) {
    this.#deps = deps;
  }

  /** To be called before a policy is worked out: if rules need the proxy, its ports are known then. */
  async prepare(): Promise<void> {
    const { policy, proxy, log } = this.#deps;
    if (!policy.needsProxy) return;
    try {
      await proxy.need();
    } catch (error) {
      log.warn({ error: errorText(error) }, 'rules need the proxy, and it could not be started yet');
    }
    this.followPorts();
  }

  /** Takes over where the proxy listens. */
  followPorts(): void {
    const { proxy, policy } = this.#deps;
    const text = JSON.stringify(proxy.ports);
    if (text === this.#ports) return;
    this.#ports = text;
    policy.setProxyPorts(proxy.ports);
  }

  /** @returns whether the proxy is ready for every flow that the policy sends it; if not, none may be sent */
  async open(policy: ResolvedPolicy): Promise<boolean> {
    const { ingress, egress } = this.#redirectsIn(policy.mapState);
    if (!ingress && !egress) return true;
    return this.#deps.l7.settle(policy.subject.id);
  }
}
