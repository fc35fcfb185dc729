/**
 * Draws a recorded terminal session as an SVG picture: `render-session.ts TITLE < session.txt > picture.svg`.
 * Lines that begin with `$ ` are commands and stand out; long lines go on below, set in.
 */
import { text } from 'node:stream/consumers';

const COLUMNS = 150;
const INDENT = '    ';
const LINE_HEIGHT = 17;
const CHAR_WIDTH = 7.8;
const MARGIN = 16;
const TITLE_HEIGHT = 30;

const escapeXml = (value: string): string =>
  value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

function colourOf(line: string): string {
  if (line.startsWith('$ ')) return '#7ee787';
  if (/^(xx drop|✗|FAILED)/.test(line.trim())) return '#ff7b72';
  if (/^(==|##|\[\d)/.test(line)) return '#79c0ff';
  return '#c9d1d9';
}

interface Row {
  readonly text: string;
  readonly colour: string;
}

function rowsOf(line: string): readonly Row[] {
  const colour = colourOf(line);
  const rows: Row[] = [{ text: line.slice(0, COLUMNS), colour }];
  const step = COLUMNS - INDENT.length;
  for (let at = COLUMNS; at < line.length; at += step)
    rows.push({ text: `${INDENT}${line.slice(at, at + step)}`, colour });
  return rows;
}

function drawRow({ text, colour }: Row, index: number): string {
  const y = TITLE_HEIGHT + MARGIN + (index + 1) * LINE_HEIGHT;
  return `<text x="${MARGIN}" y="${y}" fill="${colour}" xml:space="preserve">${escapeXml(text)}</text>`;
}

function draw(title: string, session: string): string {
  const rows = session.trimEnd().split('\n').flatMap(rowsOf);
  const width = Math.ceil(COLUMNS * CHAR_WIDTH + 2 * MARGIN);
  const height = TITLE_HEIGHT + 2 * MARGIN + (rows.length + 1) * LINE_HEIGHT;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`,
    ` font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="#0d1117"/>`,
    `<text x="${width / 2}" y="20" fill="#8b949e" text-anchor="middle">${escapeXml(title)}</text>`,
    ...rows.map(drawRow),
    '</svg>\n',
  ].join('\n');
}

process.stdout.write(draw(process.argv[2] ?? 'session', await text(process.stdin)));
