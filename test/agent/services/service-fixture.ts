import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controllers } from '../../../src/agent/controllers.ts';
import { type ObjectService, ServiceManager } from '../../../src/agent/services/service-manager.ts';
import type * as Api from '../../../src/api/schema.ts';
import { parseIp } from '../../../src/base/ip.ts';
import { silentLog } from '../../../src/base/log.ts';
import type { AgentEvent } from '../../../src/model/event.ts';
import { FakeDatapath, FakeKernel } from '../../support/fake-datapath.ts';

/** What of services outlives an agent, and managers on it. */
export class ServiceFixture {
  readonly folder = mkdtempSync(join(tmpdir(), 'ciliate-services-'));
  readonly kernel = new FakeKernel();
  readonly events: AgentEvent[] = [];
  datapath = new FakeDatapath(this.kernel);
  #controllers = new Controllers(silentLog);

  get file(): string {
    return join(this.folder, 'services.json');
  }

  get controllers(): Controllers {
    return this.#controllers;
  }

  /** A manager as the next agent has it. */
  async start(): Promise<ServiceManager> {
    await this.#controllers.stop();
    this.#controllers = new Controllers(silentLog);
    this.datapath = new FakeDatapath(this.kernel);
    const manager = new ServiceManager(this.folder, {
      datapath: this.datapath,
      controllers: this.#controllers,
      log: silentLog,
      now: () => new Date(),
      emit: (event) => void this.events.push(event),
    });
    await manager.load();
    return manager;
  }

  /** Frontends in the kernel with their backends, `1 10.96.0.1:80/TCP > 10.0.0.1:8080 active`. */
  held(): readonly string[] {
    return [...this.kernel.services].map(([key, { id, backends }]) => {
      const texts = backends.map(({ address, port, state }) => `${address.join('.')}:${port} ${state}`);
      return [`${id} ${key} >`, ...texts].join(' ');
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#controllers.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function spec(ip: string, backends: readonly string[], more: Api.ServiceSpec = {}): Api.ServiceSpec {
  return {
    'frontend-address': { ip, port: 80, protocol: 'TCP' },
    'backend-addresses': backends.map((backend) => ({ ip: backend, port: 8080 })),
    ...more,
  };
}

export function objectService(name: string, ip: string, backends: readonly string[]): ObjectService {
  return {
    ...{ name, namespace: 'default', type: 'ClusterIP', affinitySeconds: 0 },
    frontend: { address: parseIp(ip), port: 80, protocol: 'TCP' },
    backends: backends.map((backend) => ({ address: parseIp(backend), port: 8080, state: 'active' })),
  };
}
