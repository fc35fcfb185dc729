import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { inNetns } from '../../src/lab/host.ts';

/** A real Chromium without a screen, driven by its DevTools protocol over a pipe. */

const PLACES = [
  '/usr/bin/chromium-headless-shell',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

function findChromium(): string | undefined {
  const named = process.env.CHROMIUM;
  return named !== undefined && named !== '' ? named : PLACES.find((file) => existsSync(file));
}

/** For `describe('...', { skip: chromiumOrSkip() }, ...)`: the reason, or false. */
export const chromiumOrSkip = (): string | false =>
  findChromium() === undefined ? 'needs Chromium: apt-get install chromium-headless-shell' : false;

type Params = Readonly<Record<string, unknown>>;

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
  readonly sessionId?: string;
}

interface Waiting {
  readonly resolve: (result: Params) => void;
  readonly reject: (error: Error) => void;
}

const CALL_MS = 30_000;
const CLOSE_MS = 5000;

export class Chromium {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<(message: Message) => void>();
  #nextId = 1;
  #rest = '';

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    const from = child.stdio[4] as Readable;
    from.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Chromium has ended'));
    });
  }

  /**
   * @param netns name of the network namespace that it runs in; default: ours
   * @throws Error when there is none, or it does not start
   */
  static async start(netns?: string): Promise<Chromium> {
    const program = findChromium();
    if (program === undefined) throw new Error('no Chromium');
    const folder = mkdtempSync(join(tmpdir(), 'chromium-'));
    const words = ['--headless', '--remote-debugging-pipe', `--user-data-dir=${folder}`, '--no-first-run'];
    // It refuses its sandbox to root; what it loads is our own page.
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const quiet = ['--disable-gpu', '--disable-background-networking', '--disable-component-update'];
    const [name = '', ...argv] = inNetns(netns, [program, ...words, ...sandbox, ...quiet, 'about:blank']);
    const child = spawn(name, argv, {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      env: { ...process.env, HOME: folder },
    });
    await once(child, 'spawn');
    return new Chromium(child, folder);
  }

  #take(text: string): void {
    const parts = (this.#rest + text).split('\0');
    this.#rest = parts.pop() ?? '';
    for (const part of parts) {
      const message = JSON.parse(part) as Message;
      if (message.id === undefined) {
        for (const listener of this.#listeners) listener(message);
        continue;
      }
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error === undefined) waiting?.resolve(message.result ?? {});
      else waiting?.reject(new Error(message.error.message));
    }
  }

  call(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    const id = this.#nextId++;
    const text = JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) });
    (this.#child.stdio[3] as Writable).write(`${text}\0`);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method} took longer than ${CALL_MS} ms`)), CALL_MS);
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        act();
      };
      this.#waiting.set(id, {
        resolve: (result) => settle(() => resolve(result)),
        reject: (error) => settle(() => reject(error)),
      });
    });
  }

  onEvent(listener: (message: Message) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A page of its own, with cookies and storage of its own. */
  async page(
    size: { readonly width: number; readonly height: number } = { width: 1280, height: 900 },
  ): Promise<Page> {
    const { browserContextId } = await this.call('Target.createBrowserContext');
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, String(sessionId), String(targetId));
    await page.begin(size);
    return page;
  }

  /** Ends it and removes what it wrote. May be called twice. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      // The program may be a script that waits for the browser: a signal to it would leave the browser behind.
      this.call('Browser.close').catch(() => undefined);
      const last = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
      await ended;
      clearTimeout(last);
    }
    for (const stream of child.stdio) stream?.destroy();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Modifier keys of the protocol. */
export const CTRL = 2;

const VIRTUAL_KEYS: Readonly<Record<string, number>> = {
  ArrowLeft: 37,
  ArrowUp: 38,
  ArrowRight: 39,
  ArrowDown: 40,
  Home: 36,
  End: 35,
  Enter: 13,
  Tab: 9,
  PageDown: 34,
};

export class Page {
  readonly #browser: Chromium;
  readonly #session: string;
  readonly #target: string;
  /** What the page complained of: errors, and breaches of its policy. */
  readonly complaints: string[] = [];
  /** Addresses of all that it asked for. */
  readonly requests: string[] = [];
  readonly #stopListening: () => void;

  constructor(browser: Chromium, session: string, target: string) {
    this.#browser = browser;
    this.#session = session;
    this.#target = target;
    this.#stopListening = browser.onEvent((message) => {
      if (message.sessionId === session) this.#note(message);
    });
  }

  #note({ method, params = {} }: Message): void {
    if (method === 'Network.requestWillBeSent') {
      this.requests.push((params.request as { url: string }).url);
    } else if (method === 'Runtime.exceptionThrown') {
      this.complaints.push(JSON.stringify(params.exceptionDetails));
    } else if (method === 'Log.entryAdded') {
      const { text, level, source } = params.entry as { text: string; level: string; source: string };
      if (level === 'error' && source !== 'network') this.complaints.push(text);
    } else if (method === 'Audits.issueAdded') {
      this.complaints.push(JSON.stringify(params.issue));
    }
  }

  async begin({ width, height }: { readonly width: number; readonly height: number }): Promise<void> {
    for (const domain of ['Page', 'Runtime', 'Log', 'Network', 'Audits']) await this.call(`${domain}.enable`);
    await this.size(width, height);
  }

  call(method: string, params: Params = {}): Promise<Params> {
    return this.#browser.call(method, params, this.#session);
  }

  async size(width: number, height: number): Promise<void> {
    await this.call('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: width < 600,
    });
  }

  async colours(
    scheme: 'light' | 'dark',
    motion: 'reduce' | 'no-preference' = 'no-preference',
  ): Promise<void> {
    const features = [
      { name: 'prefers-color-scheme', value: scheme },
      { name: 'prefers-reduced-motion', value: motion },
    ];
    await this.call('Emulation.setEmulatedMedia', { features });
  }

  async goTo(url: string): Promise<void> {
    const { errorText } = await this.call('Page.navigate', { url });
    if (errorText !== undefined) throw new Error(`${url}: ${String(errorText)}`);
    await this.until("document.body !== null && document.readyState !== 'loading'");
  }

  /** What an expression comes to in the page. @throws Error when it throws */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.call('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (answer.exceptionDetails !== undefined)
      throw new Error(`${expression}: ${JSON.stringify(answer.exceptionDetails)}`);
    return (answer.result as { value?: unknown }).value as T;
  }

  /** Waits until an expression is true in the page, asking each frame. @throws Error after `timeoutMs` */
  async until(expression: string, timeoutMs = 15_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await this.evaluate<boolean>(`Boolean(${expression})`))) {
      if (performance.now() > deadline)
        throw new Error(`not within ${timeoutMs} ms in the page: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async press(key: string, modifiers = 0): Promise<void> {
    const text = key.length === 1 && modifiers === 0 ? { text: key } : {};
    const windowsVirtualKeyCode = VIRTUAL_KEYS[key] ?? key.toUpperCase().charCodeAt(0);
    const event = { key, code: key, modifiers, windowsVirtualKeyCode };
    await this.call('Input.dispatchKeyEvent', { type: 'keyDown', ...event, ...text });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  async click(x: number, y: number): Promise<void> {
    const event = { x, y, button: 'left', clickCount: 1 };
    await this.call('Input.dispatchMouseEvent', { type: 'mousePressed', ...event });
    await this.call('Input.dispatchMouseEvent', { type: 'mouseReleased', ...event });
  }

  /** PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.call('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(String(data), 'base64');
  }

  /** PNG of one element, however long it is. @throws Error when there is none */
  async screenshotOf(selector: string): Promise<Buffer> {
    const box = await this.evaluate<Params | undefined>(
      `(() => { const r = document.querySelector(${JSON.stringify(selector)})?.getBoundingClientRect(); return r && { x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height }; })()`,
    );
    if (box === undefined) throw new Error(`no ${selector} in the page`);
    const clip = { ...box, scale: 1 };
    const options = { format: 'png', captureBeyondViewport: true, clip };
    return Buffer.from(String((await this.call('Page.captureScreenshot', options)).data), 'base64');
  }

  async close(): Promise<void> {
    this.#stopListening();
    await this.#browser.call('Target.closeTarget', { targetId: this.#target });
  }
}
