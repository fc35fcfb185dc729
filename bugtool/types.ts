/** What every collector says of itself. */
interface CollectorBase {
  /** Stable name for --include and --exclude: `host/ip-addr`. */
  readonly id: string;
  /** File inside the archive. */
  readonly path: string;
  readonly deadlineMs?: number | undefined;
  /** Bytes of output that are kept, after redaction. */
  readonly capBytes?: number | undefined;
  /** The machine may lack it: its absence does not make the archive partial. */
  readonly optional?: boolean | undefined;
}

/** Runs a program by its argument list; both streams are kept. */
export interface ArgvCollector extends CollectorBase {
  readonly kind: 'argv';
  readonly argv: readonly string[];
}

/** Copies a file; of one that is too long, the end. */
export interface FileCollector extends CollectorBase {
  readonly kind: 'file';
  readonly file: string;
  /** Copied as it is: compressed files cannot be searched for secrets. */
  readonly binary?: boolean | undefined;
}

/** Every readable file below folders, as lines `path = value`: sysctls. */
export interface TreeCollector extends CollectorBase {
  readonly kind: 'tree';
  readonly roots: readonly string[];
}

/** The body of one GET of the agent, as it came. */
export interface ApiCollector extends CollectorBase {
  readonly kind: 'api';
  /** Below /v1: `/endpoint/12/log`. */
  readonly apiPath: string;
}

/** Anything of our own making, as text or JSON lines. */
export interface CallCollector extends CollectorBase {
  readonly kind: 'call';
  /** For --list and the manifest. */
  readonly what: string;
  readonly call: (signal: AbortSignal) => AsyncIterable<string> | Iterable<string>;
}

/** Known before it is run not to be possible, with the reason: an agent that is dead. */
export interface SkippedCollector extends CollectorBase {
  readonly kind: 'skipped';
  readonly what: string;
  readonly reason: string;
}

export type Collector =
  | ArgvCollector
  | FileCollector
  | TreeCollector
  | ApiCollector
  | CallCollector
  | SkippedCollector;

export const OUTCOMES = [
  'ok',
  'truncated',
  'failed',
  'timeout',
  'interrupted',
  'missing-tool',
  'skipped',
] as const;
export type OutcomeKind = (typeof OUTCOMES)[number];

/** How the collecting itself ended; the sizes are added by whoever writes the archive. */
export interface CollectEnd {
  readonly outcome: OutcomeKind;
  /** Why it is not ok. */
  readonly reason?: string | undefined;
  /** Nothing is missing for it: the agent has that part switched off. */
  readonly expected?: boolean | undefined;
  readonly exit?: number | undefined;
  readonly signal?: string | undefined;
  /** The beginning of what a program said on stderr. */
  readonly stderr?: string | undefined;
}

/** One file of the archive. Outputs of more than one part go on in `<path>.part002` and so on. */
export interface ArchivedFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** One line of the manifest. */
export interface CollectorReport extends CollectEnd {
  readonly id: string;
  readonly kind: Collector['kind'];
  /** Argument list, file, API path. */
  readonly source: string | readonly string[];
  readonly optional: boolean;
  /** RFC 3339, UTC. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly bytes: number;
  readonly redactions: number;
  readonly files: readonly ArchivedFile[];
}

export interface Manifest {
  readonly format: 'ciliate-bugtool/1';
  readonly version: string;
  readonly node: string;
  readonly startedAt: string;
  readonly durationMs: number;
  /** Every collector that is not optional gave all it has. */
  readonly complete: boolean;
  /** By SIGINT, SIGTERM or the deadline of the whole. */
  readonly interrupted: boolean;
  readonly counts: Readonly<Record<OutcomeKind, number>>;
  readonly redactions: number;
  readonly collectors: readonly CollectorReport[];
}

/** Where a collector's output goes. */
export interface Sink {
  /** @returns false when the cap is reached: more is not wanted */
  write(chunk: Uint8Array): Promise<boolean>;
}
