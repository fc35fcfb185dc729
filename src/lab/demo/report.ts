import { bold, green, red } from 'ansis';

/** Where the demo writes, and what it keeps count of: each check that did not hold. */
export class DemoReport {
  readonly #write: (text: string) => void;
  readonly #failures: string[] = [];
  #step = 0;
  #checks = 0;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  get failures(): readonly string[] {
    return this.#failures;
  }

  get checks(): number {
    return this.#checks;
  }

  /** Begins a numbered step. */
  step(title: string): void {
    this.#step++;
    this.#write(`\n${bold(`==> ${this.#step}. ${title}`)}\n`);
  }

  /** A line of progress inside a step. */
  line(text: string): void {
    this.#write(`    ${text}\n`);
  }

  /** Text as a command printed it. */
  output(text: string): void {
    this.#write(text.endsWith('\n') || text === '' ? text : `${text}\n`);
  }

  /** A statement that must hold; one that does not fails the demo, which goes on. */
  check(holds: boolean, text: string): void {
    this.#checks++;
    this.#write(`    ${holds ? green('ok') : red('FAILED')}  ${text}\n`);
    if (!holds) this.#failures.push(text);
  }
}
