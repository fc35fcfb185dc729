import { type LabelSelector, type MatchLabel, type SelectorKey, selectorKeyText } from '../model/selector.ts';

/** What a selector wants a label to be: one with the key, and where `values` is there, with one of them. */
interface Wanted extends SelectorKey {
  readonly values: readonly string[] | undefined;
}

function wantedOf({ matchLabels, matchExpressions }: LabelSelector): readonly Wanted[] {
  const byLabel = matchLabels.map((part: MatchLabel) => ({ ...part, values: [part.value] }));
  const byExpression = matchExpressions.flatMap((part): Wanted[] => {
    if (part.operator === 'In') return [part];
    return part.operator === 'Exists' ? [{ ...part, values: undefined }] : [];
  });
  return [...byLabel, ...byExpression];
}

/** Whether a part about `part`'s key speaks of every label that `wanted` may be. */
function speaksOf(part: SelectorKey, wanted: SelectorKey): boolean {
  return part.key === wanted.key && (part.source === 'any' || part.source === wanted.source);
}

/** Whether the two want different values of one label. Of source `any` they may be two labels, of two sources. */
function apart(a: Wanted, b: Wanted): boolean {
  if (a.source === 'any' || a.source !== b.source || a.key !== b.key) return false;
  return (
    a.values !== undefined && b.values !== undefined && !a.values.some((value) => b.values?.includes(value))
  );
}

/**
 * The key of which a selector wants what it also forbids, so that it matches no label set at all; undefined when its
 * parts alone do not show that.
 */
export function contradictoryKey(selector: LabelSelector): string | undefined {
  const wanted = wantedOf(selector);
  const found = wanted.find(
    (one, i) =>
      wanted.slice(i + 1).some((other) => apart(one, other)) ||
      selector.matchExpressions.some((part) => {
        if (!speaksOf(part, one)) return false;
        if (part.operator === 'DoesNotExist') return true;
        return (
          part.operator === 'NotIn' && one.values?.every((value) => part.values.includes(value)) === true
        );
      }),
  );
  return found && selectorKeyText(found);
}
