import type { HealthPair, HealthPairCell, HealthPathReport } from '../../api/schema.ts';
import { errorText } from '../../base/errors.ts';
import type { MatrixView } from '../../model/health.ts';
import type { Health } from '../health.ts';
import { hostTargets } from '../targets.ts';
import { pathAnswer } from './answers.ts';
import { worstState } from './cells.ts';

export interface PairDeps {
  readonly health: Pick<Health, 'nodes' | 'reports' | 'matrix'>;
  /** Asks a node's health agent, at one of its addresses, for its paths to a peer. Absent: nobody can be asked. */
  readonly askPeer?: ((address: string, peer: string) => Promise<readonly HealthPathReport[]>) | undefined;
}

function cellOf(view: MatrixView, from: string, to: string): HealthPairCell | undefined {
  const cell = view.row(from)?.cells.get(to);
  if (cell === undefined) return undefined;
  const ageMs = view.ageMs(from);
  return {
    state: worstState(cell),
    ...(cell.rttNs === 0 ? {} : { 'rtt-ns': Math.round(cell.rttNs) }),
    sent: cell.sent,
    lost: cell.lost,
    ...(ageMs === undefined ? {} : { 'age-ms': Math.max(0, Math.round(ageMs)) }),
  };
}

/** Asks at each address of the node in turn. @returns its paths, or why there are none */
async function ask(
  { health, askPeer }: PairDeps,
  from: string,
  to: string,
): Promise<readonly HealthPathReport[] | string> {
  if (askPeer === undefined) return 'other nodes are not asked here';
  const node = health.nodes().nodes.find(({ name }) => name === from);
  const addresses = node === undefined ? [] : hostTargets(node).map(({ address }) => address);
  let reason = 'it has no address';
  for (const address of addresses) {
    try {
      return await askPeer(address, to);
    } catch (error) {
      reason = error instanceof Error ? error.message : errorText(error);
    }
  }
  return reason;
}

/**
 * All paths from one node to another: what we measured, when it is from us; else what the other node answers; else what its
 * last row says.
 */
export async function pairAnswer(deps: PairDeps, from: string, to: string): Promise<HealthPair> {
  const { health } = deps;
  const cell = cellOf(health.matrix(), from, to);
  const known = { from, to, ...(cell === undefined ? {} : { cell }) };
  if (from === health.nodes().self)
    return { ...known, source: 'self', paths: health.reports(to).map(pathAnswer) };
  const answer = await ask(deps, from, to);
  if (typeof answer !== 'string') return { ...known, source: 'asked', paths: answer };
  return { ...known, source: cell === undefined ? 'none' : 'row', reason: answer, paths: [] };
}
