import type { PolicyInventory } from '../../model/policy-inventory.ts';
import type { Controllers } from '../controllers.ts';
import { podLookup, type ServicePod, ServicesOfObjects } from './object-services.ts';
import type { ServiceManager } from './service-manager.ts';

export interface ObjectServicesDeps {
  /** Name of this node. */
  readonly self: string;
  readonly services: Pick<ServiceManager, 'setObjects' | 'allKnown'>;
  readonly controllers: Controllers;
  /** Undefined while it is not known which objects there are. */
  readonly inventory: () => PolicyInventory | undefined;
  /** Whether all endpoints of the cluster are known. */
  readonly podsKnown: () => boolean;
  readonly pods: () => readonly ServicePod[];
}

const CONTROLLER = 'services-of-objects';

/** Makes the services of this node follow the objects of Kubernetes, and the pods that these select. */
export class ObjectServices {
  readonly #deps: ObjectServicesDeps;
  readonly #follow: { trigger(): Promise<void> };
  #started = false;
  #inventory: PolicyInventory | undefined;
  #services: ServicesOfObjects | undefined;
  #wereKnown = false;

  constructor(deps: ObjectServicesDeps) {
    this.#deps = deps;
    this.#follow = deps.controllers.add({ name: CONTROLLER, run: () => this.#run() });
  }

  /** The rules of the last run are read, and this node's own endpoints are found. */
  async start(): Promise<void> {
    this.#started = true;
    await this.#follow.trigger().catch(() => undefined);
  }

  /** The objects may be others. */
  onPolicyChange(): void {
    if (this.#started && this.#deps.inventory() !== this.#inventory) void this.#follow.trigger();
  }

  /** Pods came, went or changed, or all are known now. */
  onPods(): void {
    const known = this.#deps.podsKnown();
    if (this.#started && (this.#services?.usePods === true || known !== this.#wereKnown))
      void this.#follow.trigger();
    this.#wereKnown = known;
  }

  async #run(): Promise<void> {
    const { services } = this.#deps;
    const inventory = this.#deps.inventory();
    if (inventory === undefined) return;
    if (inventory !== this.#inventory || this.#services === undefined)
      this.#services = new ServicesOfObjects(inventory, this.#deps.self);
    this.#inventory = inventory;
    const isKnown = this.#deps.podsKnown();
    const lookup = isKnown && this.#services.usePods ? podLookup(this.#deps.pods()) : undefined;
    await services.setObjects(this.#services.list(lookup));
    if (isKnown) await services.allKnown();
  }
}
