/** Children of an element: text is always text, whoever it comes from. */
export type Child = Node | string | undefined;

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

function applyAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? '' : String(value));
  }
}

/** Makes an element of HTML. */
export function html<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  applyAttributes(element, attributes);
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** Makes an element of SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  applyAttributes(element, attributes);
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** The element of the page with this id. @throws Error when there is none of this kind: the page and its script differ */
export function byId<T extends Element>(id: string, kind: new () => T): T {
  const element = document.getElementById(id);
  if (element instanceof kind) return element;
  throw new Error(`no ${kind.name} with the id ${id} in the page`);
}

/** Replaces a text only where it differs, so that nothing is announced or laid out for nothing. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A button that does something. */
export function button(text: string, act: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const element = html('button', { type: 'button', ...attributes }, text);
  element.addEventListener('click', act);
  return element;
}

/** A table with its header; `numeric` columns stand to the right. */
export function table(
  caption: string,
  columns: readonly { readonly title: string; readonly numeric?: boolean }[],
  rows: readonly (readonly Child[])[],
): HTMLTableElement {
  const classOf = (column: number): string | undefined =>
    columns[column]?.numeric === true ? 'number' : undefined;
  const head = columns.map(({ title }, i) => html('th', { scope: 'col', class: classOf(i) }, title));
  const body = rows.map((cells) =>
    html(
      'tr',
      {},
      ...cells.map((cell, i) =>
        i === 0 ? html('th', { scope: 'row' }, cell) : html('td', { class: classOf(i) }, cell),
      ),
    ),
  );
  return html(
    'table',
    {},
    html('caption', { class: 'hidden' }, caption),
    html('thead', {}, html('tr', {}, ...head)),
    html('tbody', {}, ...body),
  );
}
