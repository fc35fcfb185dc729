import { checkedCall } from './checked-call.ts';
import type { ClientOptions } from './client.ts';
import type * as Api from './schema.ts';
import { SourceError } from './source-error.ts';
import { type ApiCall, Transport } from './transport.ts';

/** The health agent's REST API. Every method rejects with `SourceError`. */
export class HealthClient {
  readonly name: string;
  readonly #transport: Transport;

  constructor(options: ClientOptions) {
    this.#transport = new Transport({
      ...options,
      basePath: '/v1beta',
      peer: 'health agent',
      hint: 'is the health agent running? `ciliate agent` starts it, or `ciliate health --nodes FILE` without an agent; name its folder with --state-dir, or its socket with CILIATE_HEALTH_SOCK',
    });
    this.name = this.#transport.name;
  }

  healthz(): Promise<Api.HealthResponse> {
    return checkedCall(this.#transport, { method: 'GET', path: '/healthz' }, 'object');
  }

  /** The last results. */
  status(options: { readonly timeoutMs?: number } = {}): Promise<Api.HealthStatusResponse> {
    const { timeoutMs } = options;
    return checkedCall(this.#transport, { method: 'GET', path: '/status', timeoutMs }, 'object');
  }

  /** Runs a round of probes now and waits for it. */
  probe(): Promise<Api.HealthStatusResponse> {
    return checkedCall(this.#transport, { method: 'PUT', path: '/status/probe' }, 'object');
  }

  /** All paths from one node to another; without `from`, from the node of the agent that is asked. */
  pair(to: string, from?: string): Promise<Api.HealthPair> {
    return this.#ours({ method: 'GET', path: '/pair', query: { from, to } });
  }

  /** The rows of the cluster; of a node, the cells from it and to it. */
  matrix(node?: string): Promise<Api.HealthMatrix> {
    return this.#ours({ method: 'GET', path: '/matrix', query: { node } });
  }

  diagnosis(): Promise<Api.HealthDiagnosis> {
    return this.#ours({ method: 'GET', path: '/diagnosis' });
  }

  /** Changes of state after a time (RFC 3339), of paths to one node; without them all that are kept. */
  history(since?: string, peer?: string): Promise<Api.HealthHistory> {
    return this.#ours({ method: 'GET', path: '/history', query: { since, peer } });
  }

  /** Of the paths to one node, or all. */
  mtu(peer?: string): Promise<Api.HealthMtu> {
    return this.#ours({ method: 'GET', path: '/mtu', query: { peer } });
  }

  /** Whether a node may take load; without a name, the agent's own. */
  ready(node?: string): Promise<Api.HealthReadiness> {
    return this.#ours({ method: 'GET', path: '/ready', query: { node }, accepted: [503] });
  }

  /** Probes the paths to some nodes now. @param timeoutMs for the whole exchange */
  probeNodes(request: Api.HealthProbeRequest, timeoutMs: number): Promise<Api.HealthProbeReport> {
    return this.#ours({ method: 'PUT', path: '/probe', body: request, timeoutMs });
  }

  /** Calls what Cilium's health agents and our old ones do not have. */
  async #ours<T>(call: ApiCall): Promise<T> {
    try {
      return await checkedCall(this.#transport, call, 'object');
    } catch (cause) {
      if (!(cause instanceof SourceError) || (cause.status !== 404 && cause.status !== 405)) throw cause;
      const what = `${call.method} /v1beta${call.path}`;
      throw new SourceError(`the health agent at ${this.name} does not know ${what}`, {
        code: 'API_ERROR',
        hint: "it is older than this command, or Cilium's: `ciliate health status` works with both",
        cause,
      });
    }
  }

  /** Prometheus text. Our health agent only. */
  async metrics(): Promise<string> {
    return (await this.#transport.text({ method: 'GET', path: '/metrics', headers: { accept: '*/*' } })).text;
  }
}
