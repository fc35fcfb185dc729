import type { Probe, ProbeResult } from '../../probes/types.ts';
import type { Clock } from './clock.ts';

export interface Attempt {
  readonly result: ProbeResult;
  /** Probes of this attempt that went unanswered, besides the one that decided it. */
  readonly losses: number;
  /** Every probe's own outcome, for counting. */
  readonly outcomes: readonly ProbeResult[];
}

export interface AttemptOptions {
  /** Probes at most. */
  readonly tries: number;
  /** From one to the next, while none has ended. */
  readonly spacingMs: number;
}

/**
 * Probes an address up to `tries` times, the next one `spacingMs` after the last while no answer came; the first reply
 * decides. A single lost packet is thus counted, but makes no path unreachable. What is not a lost packet (refused, no
 * route) is final at once. Probes that are still under way when the attempt is decided are not waited for; their loss
 * is counted by the probe itself.
 */
export async function attempt(
  probe: Probe,
  address: string,
  options: AttemptOptions,
  clock: Clock,
): Promise<Attempt> {
  const outcomes: ProbeResult[] = [];
  return new Promise((resolve) => {
    let started = 0;
    let decided = false;
    let cancel: () => void = () => undefined;
    const decide = (result: ProbeResult): void => {
      if (decided) return;
      decided = true;
      cancel();
      const losses = outcomes.filter((other) => other !== result && isLoss(other)).length;
      resolve({ result, losses, outcomes });
    };
    const ended = (result: ProbeResult): void => {
      if (decided) return;
      outcomes.push(result);
      const final = !isLoss(result) || outcomes.length === options.tries;
      if (final) decide(result);
      else if (outcomes.length === started) next();
    };
    const next = (): void => {
      cancel();
      if (decided || started === options.tries) return;
      started++;
      void probe.probe(address).then(ended);
      if (started < options.tries) cancel = clock.after(options.spacingMs, next);
    };
    next();
  });
}

function isLoss(result: ProbeResult): boolean {
  return result.kind === 'failure' && result.failure.kind === 'timeout';
}
