/** Runs inside a namespace for icmp.test.ts: probes as the JSON argument says, writes what came as one JSON line. */
import { IcmpProber, Outcome } from '../../probes/icmp/index.ts';

interface Task {
  readonly address: string;
  readonly count?: number;
  readonly options?: ConstructorParameters<typeof IcmpProber>[0];
  /** Blocks the event loop right after sending. */
  readonly blockMs?: number;
  /** Keeps listening this long after the last outcome: late and duplicate replies. */
  readonly lingerMs?: number;
}

const task = JSON.parse(process.argv[2] ?? '{}') as Task;
const names = Object.keys(Outcome) as (keyof typeof Outcome)[];
const events: { outcome: string; latencyNs: number | null; stamped: boolean; error?: unknown }[] = [];
const count = task.count ?? 1;
let ended = 0;

/**
 * The kernel turns receive stamps on some time after the first socket asks for them, for all sockets of the machine:
 * a prober that stays open keeps them on for the one that is tested.
 */
async function keepStampsOn(): Promise<IcmpProber> {
  let stamped = false;
  const keeper = new IcmpProber(
    {},
    {
      onOutcomes: (batch) => (stamped ||= batch.count > 0 && !Number.isNaN(batch.latencyNs[0] ?? Number.NaN)),
    },
  );
  keeper.start();
  const family = keeper.readiness(4).ready ? 4 : 6;
  if (!keeper.readiness(family).ready) return keeper;
  const path = keeper.openPath(family === 4 ? '127.0.0.1' : '::1');
  const limit = performance.now() + 2000;
  while (!stamped && performance.now() < limit) {
    keeper.send(Uint32Array.of(path));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return keeper;
}

const keeper = await keepStampsOn();
const prober = new IcmpProber(task.options ?? {}, {
  onOutcomes: (batch) => {
    for (let i = 0; i < batch.count; i++) {
      const outcome = names.find((name) => Outcome[name] === batch.kind[i]) ?? '?';
      const latencyNs = batch.latencyNs[i] ?? Number.NaN;
      const failed = outcome === 'icmpError' || outcome === 'sendFailed';
      events.push({
        outcome,
        latencyNs: Number.isNaN(latencyNs) ? null : latencyNs,
        stamped: batch.stamped[i] === 1,
        ...(failed ? { error: batch.errors[batch.detail[i] ?? 0] } : {}),
      });
      if (outcome !== 'late' && outcome !== 'duplicate') ended++;
    }
  },
});
prober.start();
const modes = { 4: prober.readiness(4), 6: prober.readiness(6) };
const family = task.address.includes(':') ? 6 : 4;
const startNs = process.hrtime.bigint();
if (modes[family].ready) {
  const path = prober.openPath(task.address);
  prober.send(new Uint32Array(count).fill(path));
  const until = performance.now() + (task.blockMs ?? 0);
  while (performance.now() < until);
  const limit = performance.now() + 5000;
  while (ended < count && performance.now() < limit) await new Promise((resolve) => setTimeout(resolve, 2));
}
const wallNs = Number(process.hrtime.bigint() - startNs);
await new Promise((resolve) => setTimeout(resolve, task.lingerMs ?? 0));
const counters = prober.counters();
prober.stop();
keeper.stop();
process.stdout.write(`${JSON.stringify({ modes, events, counters, wallNs })}\n`);
