/** Ids are 16 bits in the datapath, 0 is none. */
export const MAX_SERVICE_ID = 0xffff;

/**
 * Which id a frontend has on this node. Ids go round: one that came free is given anew as late as possible, since clients
 * are remembered by it for as long as their affinity lasts.
 */
export class ServiceIds {
  readonly #byFrontend = new Map<string, number>();
  readonly #byId = new Map<number, string>();
  #last = 0;

  idOf(frontend: string): number | undefined {
    return this.#byFrontend.get(frontend);
  }

  frontendOf(id: number): string | undefined {
    return this.#byId.get(id);
  }

  /** Gives a frontend an id. @returns false, with nothing changed, where one of them has another */
  claim(frontend: string, id: number): boolean {
    const [held, holder] = [this.#byFrontend.get(frontend), this.#byId.get(id)];
    if (held === id) return true;
    if (held !== undefined || holder !== undefined || id < 1 || id > MAX_SERVICE_ID) return false;
    this.#put(frontend, id);
    this.#last = Math.max(this.#last, id);
    return true;
  }

  /** The id of a frontend, which it gets if it has none. @returns undefined when all are taken */
  take(frontend: string): number | undefined {
    const held = this.#byFrontend.get(frontend);
    if (held !== undefined) return held;
    if (this.#byId.size >= MAX_SERVICE_ID) return undefined;
    do this.#last = this.#last >= MAX_SERVICE_ID ? 1 : this.#last + 1;
    while (this.#byId.has(this.#last));
    this.#put(frontend, this.#last);
    return this.#last;
  }

  release(frontend: string): void {
    const id = this.#byFrontend.get(frontend);
    if (id === undefined) return;
    this.#byFrontend.delete(frontend);
    this.#byId.delete(id);
  }

  #put(frontend: string, id: number): void {
    this.#byFrontend.set(frontend, id);
    this.#byId.set(id, frontend);
  }
}
