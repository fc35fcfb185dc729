/** One line over a logarithmic axis. */
export interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const WIDTH = 300;
const HEIGHT = 170;
const LEFT = 48;
const RIGHT = 12;
const TOP = 30;
const BOTTOM = 30;
const COLUMNS = 2;

/** Panels of two a row as an SVG that is readable on light and dark ground. @param xTitle what the x axis counts */
export function drawPanels(title: string, xTitle: string, panels: readonly Panel[]): string {
  const rows = Math.ceil(panels.length / COLUMNS);
  const body = panels.map((panel, i) => {
    const [x, y] = [(i % COLUMNS) * WIDTH, Math.floor(i / COLUMNS) * HEIGHT];
    return `<g transform="translate(${x} ${y})">${drawPanel(xTitle, panel)}</g>`;
  });
  const size = `viewBox="0 0 ${COLUMNS * WIDTH} ${rows * HEIGHT}"`;
  const style =
    'text{font:11px sans-serif;fill:#777}.t{font-weight:bold}path,circle{stroke:#2a7de1;fill:none;stroke-width:1.5}' +
    'circle{fill:#2a7de1}line{stroke:#999;stroke-width:.5}';
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}><title>${title}</title><style>${style}</style>${body.join('\n')}</svg>\n`;
}

function drawPanel(xTitle: string, { title, unit, points }: Panel): string {
  const most = niceMost(Math.max(...points.map(([, y]) => y)));
  const xs = points.map(([x]) => Math.log10(x));
  const [least = 0, greatest = 1] = [Math.min(...xs), Math.max(...xs)];
  const right = WIDTH - RIGHT;
  const bottom = HEIGHT - BOTTOM;
  const px = (x: number): number => LEFT + ((Math.log10(x) - least) / (greatest - least)) * (right - LEFT);
  const py = (y: number): number => bottom - (y / most) * (bottom - TOP);
  const at = points.map(([x, y]) => `${px(x).toFixed(1)} ${py(y).toFixed(1)}`);
  const marks = points
    .map(([x, y]) => `<circle cx="${px(x).toFixed(1)}" cy="${py(y).toFixed(1)}" r="2"/>`)
    .join('');
  const ticks = points
    .filter((_, i) => i % 2 === 0 || i === points.length - 1)
    .map(([x]) => `<text x="${px(x).toFixed(1)}" y="${bottom + 14}" text-anchor="middle">${x}</text>`)
    .join('');
  const levels = [0, most / 2, most]
    .map(
      (y) =>
        `<line x1="${LEFT}" x2="${right}" y1="${py(y)}" y2="${py(y)}"/>` +
        `<text x="${LEFT - 4}" y="${py(y) + 4}" text-anchor="end">${y}</text>`,
    )
    .join('');
  const heading = unit === '' ? title : `${title}, ${unit}`;
  return `<text class="t" x="${LEFT}" y="18">${heading}</text>${levels}<path d="M${at.join('L')}"/>${marks}${ticks}<text x="${right}" y="${bottom + 26}" text-anchor="end">${xTitle}</text>`;
}

/** 1, 2 or 5 times a power of ten, not below `value`. */
function niceMost(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}
