import { isDisguise } from './disguise.ts';
import type { Target } from './path.ts';
import type { HeaderEdit } from './rewrite.ts';
import type { JudgedRequest } from './rule-set.ts';

/** A request with the changes that the rules of its client wanted: what the rules of the server look at. */
export class EditedRequest implements JudgedRequest {
  readonly #before: JudgedRequest;
  readonly #edits: readonly HeaderEdit[];

  constructor(before: JudgedRequest, edits: readonly HeaderEdit[]) {
    this.#before = before;
    this.#edits = edits;
  }

  get method(): string {
    return this.#before.method;
  }

  get hostText(): string {
    return this.#before.hostText;
  }

  get understood(): Target {
    return this.#before.understood;
  }

  joined(lower: string): string | undefined {
    let value = this.#before.joined(lower);
    for (const edit of this.#edits) {
      if (edit.lower !== lower) continue;
      if (edit.action === 'DELETE') value = undefined;
      else if (edit.action === 'REPLACE' || value === undefined) value = edit.value;
      else value = `${value},${edit.value}`;
    }
    return value;
  }

  disguised(lower: string): readonly string[] {
    const names = new Set(this.#before.disguised(lower));
    for (const edit of this.#edits) {
      if (edit.action === 'DELETE') names.delete(edit.lower);
      else if (isDisguise(edit.lower, lower)) names.add(edit.lower);
    }
    return [...names];
  }
}
