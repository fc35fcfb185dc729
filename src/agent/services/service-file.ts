import { join } from 'node:path';
import Type from 'typebox';
import { Check } from 'typebox/value';
import * as Api from '../../api/schema.ts';
import { frontendKey, type Service } from '../../model/service.ts';
import { StateFile, type StateFileDeps } from '../state-file.ts';
import { readServiceSpec } from './service-request.ts';
import { serviceSpecView } from './service-view.ts';

const Content = Type.Object({ services: Type.Array(Api.ServiceSpec) });

/** @throws Error where it is no list of services that callers of the API could have made */
function parse(value: unknown): readonly Service[] {
  if (!Check(Content, value)) throw new Error('it is no list of services');
  const services = value.services.map((spec) => readServiceSpec(spec.id ?? 0, spec));
  const [ids, keys] = [services.map(({ id }) => id), services.map(({ frontend }) => frontendKey(frontend))];
  if (ids.includes(0)) throw new Error('a service has no id');
  if (new Set(ids).size < ids.length) throw new Error('two services have one id');
  if (new Set(keys).size < keys.length) throw new Error('two services have one frontend');
  return services;
}

/** The services that callers of the API made: `services.json` of the state folder. */
export class ServiceFile {
  readonly #file: StateFile<readonly Service[]>;

  constructor(stateDir: string, deps: StateFileDeps) {
    this.#file = new StateFile(join(stateDir, 'services.json'), parse, deps);
  }

  /** Why the file was set aside at the last `read`. */
  get damage(): string | undefined {
    return this.#file.damage;
  }

  read(): readonly Service[] {
    return this.#file.read() ?? [];
  }

  /** @throws SystemError STATE_UNWRITABLE, with the file as it was */
  write(services: Iterable<Service>): void {
    this.#file.write({ services: [...services].map(serviceSpecView) });
  }
}
