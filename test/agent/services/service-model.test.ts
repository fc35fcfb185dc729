import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { ObjectService, ServiceManager } from '../../../src/agent/services/service-manager.ts';
import { ApiError } from '../../../src/api/errors.ts';
import { until } from '../agent-fixture.ts';
import { objectService, ServiceFixture, spec } from './service-fixture.ts';

const FRONTENDS = ['10.96.0.1', '10.96.0.2', '10.96.0.3'];
const keyOf = (ip: string): string => `${ip}:80/TCP`;

const frontend = fc.constantFrom(...FRONTENDS);
const backend = fc.constantFrom('10.0.0.1', '10.0.0.2');
const step = fc.oneof(
  fc.record({ kind: fc.constant('put' as const), frontend, backend, id: fc.constantFrom(0, 0, 0, 1, 2, 9) }),
  fc.record({ kind: fc.constant('delete' as const), id: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ kind: fc.constant('objects' as const), objects: fc.dictionary(frontend, backend) }),
  fc.record({
    kind: fc.constant('fail' as const),
    call: fc.constantFrom('upsertService', 'deleteService'),
  }),
  fc.record({ kind: fc.constant('restart' as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** What was asked for: frontend -> backend. */
interface Wanted {
  readonly api: Map<string, string>;
  objects: ReadonlyMap<string, string>;
}

class Run {
  readonly fixture = new ServiceFixture();
  readonly wanted: Wanted = { api: new Map(), objects: new Map() };
  /** Frontend -> id, since it is wanted. */
  readonly ids = new Map<string, number>();
  #manager: ServiceManager | undefined;

  get manager(): ServiceManager {
    return this.#manager ?? assert.fail('not started');
  }

  async start(): Promise<void> {
    this.#manager = await this.fixture.start();
    await this.#tellObjects();
    await this.manager.allKnown();
  }

  /** An id that neither the datapath nor the disk holds is nobody's any more. */
  #restart(): Promise<void> {
    for (const ip of [...this.ids.keys()])
      if (!this.wanted.api.has(ip) && !this.fixture.kernel.services.has(keyOf(ip))) this.ids.delete(ip);
    return this.start();
  }

  #tellObjects(): Promise<void> {
    const services = [...this.wanted.objects].map(
      ([ip, to]): ObjectService => objectService(`s${ip}`, ip, [to]),
    );
    return this.manager.setObjects(services);
  }

  async take(one: Step): Promise<void> {
    if (one.kind === 'put') return this.#put(one.frontend, one.backend, one.id);
    if (one.kind === 'delete') return this.#delete(one.id);
    if (one.kind === 'restart') return this.#restart();
    if (one.kind === 'fail') {
      this.fixture.datapath.failures.set(one.call as 'upsertService', new Error('told to fail'));
      return undefined;
    }
    this.wanted.objects = new Map(Object.entries(one.objects));
    return this.#tellObjects();
  }

  /** Whether a call is taken; what is refused changes nothing, what fails is tried again. */
  async #taken(call: Promise<unknown>): Promise<boolean> {
    try {
      await call;
      return true;
    } catch (error) {
      assert.ok(error instanceof ApiError, String(error));
      assert.ok([404, 409, 500].includes(error.status), error.message);
      return error.status === 500;
    }
  }

  async #put(ip: string, to: string, id: number): Promise<void> {
    const taken = await this.#taken(this.manager.put(id, spec(ip, [to])));
    const isObjects = this.wanted.objects.has(ip) && !this.wanted.api.has(ip);
    if (isObjects) assert.equal(taken, false, `${ip} is an object's`);
    else if (id === 0) assert.equal(taken, true);
    if (taken) this.wanted.api.set(ip, to);
  }

  async #delete(id: number): Promise<void> {
    const ip = [...this.ids].find(([, held]) => held === id)?.[0];
    const taken = await this.#taken(this.manager.delete(id));
    assert.equal(taken, ip !== undefined && this.wanted.api.has(ip), `delete ${id}`);
    if (ip !== undefined && taken) this.wanted.api.delete(ip);
  }

  /** Frontends that somebody wants have one id, as long as that is so; nobody else has it. */
  checkIds(): void {
    const wanted = new Map([...this.wanted.objects, ...this.wanted.api]);
    const listed = this.manager.list();
    assert.equal(listed.length, wanted.size);
    assert.equal(new Set(listed.map(({ service }) => service.id)).size, listed.length);
    for (const ip of [...this.ids.keys()]) if (!wanted.has(ip)) this.ids.delete(ip);
    for (const { service } of listed) {
      const ip = service.frontend.address.join('.');
      assert.equal(service.id, this.ids.get(ip) ?? service.id, `the id of ${ip}`);
      this.ids.set(ip, service.id);
    }
  }

  /** Once nothing fails any more the datapath has what is wanted, and nothing else. */
  async checkDatapath(): Promise<void> {
    this.fixture.datapath.failures.clear();
    const wanted = new Map([...this.wanted.objects, ...this.wanted.api]);
    const texts = [...wanted]
      .map(([ip, to]) => `${this.ids.get(ip)} ${keyOf(ip)} > ${to}:8080 active`)
      .sort();
    // Does at once what would be tried again soon.
    await this.#tellObjects();
    await until(
      `the datapath holds ${texts.join(', ')}`,
      () => String(this.fixture.held().toSorted()) === String(texts),
    );
    assert.deepEqual(this.manager.failed, []);
  }
}

describe('the services of a node, whatever is asked, fails or restarts', () => {
  it('have one id as long as they are wanted, and are in the datapath once it takes them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const run = new Run();
        await using _fixture = run.fixture;
        await run.start();
        for (const one of steps) {
          await run.take(one);
          run.checkIds();
        }
        await run.checkDatapath();
      }),
      { numRuns: 150 },
    );
  });
});
