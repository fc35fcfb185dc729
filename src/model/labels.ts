/** One label, `source:key=value`; the value may be empty. */
export interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}
