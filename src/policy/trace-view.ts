import { l7Texts } from './l7-text.ts';
import type { TracedDirection, TraceResult } from './trace-types.ts';

function directionView(traced: TracedDirection) {
  return {
    ...traced,
    rules: traced.rules.map((rule) => ({
      ...rule,
      items: rule.items.map((item) => ({ ...item, l7: item.l7.flatMap(l7Texts) })),
    })),
  };
}

/** A trace with its L7 rules as texts, for people and for JSON. */
export function traceView({ verdict, egress, ingress }: TraceResult) {
  return { verdict, egress: directionView(egress), ingress: directionView(ingress) };
}
