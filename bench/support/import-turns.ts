import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { KeptRules } from '../../src/agent/kept-rules.ts';
import { silentLog } from '../../src/base/log.ts';
import { allInTurns, atOnce } from '../../src/base/slices.ts';
import type { Identity } from '../../src/model/identity.ts';
import { labelSet } from '../../src/model/labels.ts';
import {
  PolicyResolver,
  parsePolicySlices,
  type Repository,
  rulesTextSlices,
} from '../../src/policy/index.ts';
import { threadMs } from './thread-ms.ts';

export interface ImportTurns {
  /** Processor time of the thread: of all of it, and of the longest turn of the event loop. */
  readonly wholeMs: number;
  readonly turnMs: number;
}

const SUBJECTS = 8;
const PEERS = 200;

/** Rules by labels, as JSON. */
export function manyRules(count: number): string {
  return JSON.stringify(
    Array.from({ length: count }, (_, i) => ({
      endpointSelector: { matchLabels: { app: `app-${i % SUBJECTS}` } },
      labels: [{ key: 'name', value: `rule-${i}`, source: 'unspec' }],
      ingress: [
        {
          fromEndpoints: [{ matchLabels: { role: `role-${i % PEERS}` } }],
          toPorts: [{ ports: [{ port: String(1000 + (i % 5000)), protocol: 'TCP' }] }],
        },
      ],
    })),
  );
}

function identities(): Identity[] {
  return Array.from({ length: SUBJECTS + PEERS }, (_, i) => {
    const [key, value] = i < SUBJECTS ? ['app', `app-${i}`] : ['role', `role-${i - SUBJECTS}`];
    return { id: 256 + i, labels: labelSet([{ source: 'k8s', key, value }]) };
  });
}

/** An import as the agent has it: read, kept on disk, worked out, and answered with all rules. */
export async function importTurns(text: string, isInTurns: boolean): Promise<ImportTurns> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-import-'));
  const resolver = new PolicyResolver({ mode: 'default', allowLocalhost: 'always', clusterName: 'default' });
  const all = identities();
  resolver.updateIdentities({ upserts: all });
  for (const subject of all.slice(0, SUBJECTS)) resolver.resolve(subject);
  const kept: KeptRules = new KeptRules(
    folder,
    { log: silentLog, now: () => new Date() },
    { follow: () => resolver.setRules(kept.snapshot()), enforce: () => undefined, takeBack: () => undefined },
  );
  kept.load();
  const read = parsePolicySlices(text, { file: 'bench' });
  const apply = ({
    rules,
  }: {
    readonly rules: readonly { readonly rule: Parameters<Repository['add']>[0][number] }[];
  }) => {
    return { apply: (repository: Repository) => repository.upsert(rules.map(({ rule }) => rule)) };
  };
  const turns = new ThreadTurns();
  try {
    if (isInTurns) await kept.changeBy(async () => apply(await allInTurns(read)));
    else await kept.changeBy(() => Promise.resolve(apply(atOnce(read))));
    const answer = rulesTextSlices(kept.rules([]).map(({ rule }) => rule));
    if (isInTurns) await allInTurns(answer);
    else atOnce(answer);
    return await turns.end();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Looks after each turn what it took. */
class ThreadTurns {
  readonly #startMs = threadMs();
  #lastMs = this.#startMs;
  #longestMs = 0;
  #isOver = false;
  readonly #watching = this.#watch();

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      await nextTurn();
      const nowMs = threadMs();
      this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastMs);
      this.#lastMs = nowMs;
    }
  }

  async end(): Promise<ImportTurns> {
    const wholeMs = threadMs() - this.#startMs;
    this.#isOver = true;
    await this.#watching;
    return { wholeMs, turnMs: this.#longestMs };
  }
}
