/** Offset into the text, from 0. */
export type Offset = number;

/** A value of the text with its place. */
export type TextNode =
  | { readonly kind: 'map'; readonly at: Offset; readonly entries: readonly TextEntry[] }
  | { readonly kind: 'list'; readonly at: Offset; readonly items: readonly TextNode[] }
  | { readonly kind: 'text'; readonly at: Offset; readonly value: string }
  | { readonly kind: 'number'; readonly at: Offset; readonly value: number; readonly source: string }
  | { readonly kind: 'boolean'; readonly at: Offset; readonly value: boolean }
  | { readonly kind: 'null'; readonly at: Offset };

export interface TextEntry {
  readonly key: string;
  readonly keyAt: Offset;
  readonly value: TextNode;
}

/** Bounds that keep a hostile text cheap. */
export interface DocumentLimits {
  readonly maxBytes: number;
  readonly maxDepth: number;
  /** Values, counted as often as aliases repeat them. */
  readonly maxNodes: number;
  /** Of JSON, which takes far less time for each than YAML. */
  readonly maxJsonBytes: number;
  readonly maxJsonNodes: number;
}
