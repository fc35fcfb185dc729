import { readFileSync } from 'node:fs';

/** A process that cannot be mistaken for a later one with the same pid. */
export interface ProcessRef {
  readonly pid: number;
  /** Clock ticks after boot at which it started (`/proc/<pid>/stat`, field 22). */
  readonly startTicks: string;
}

/** `/proc/<pid>/stat` from field 3 on: the name before it may hold blanks and parentheses. */
function statFields(pid: number): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined;
    throw error;
  }
}

/** The process that has this pid now; undefined when none, or only its corpse. */
export function processRef(pid: number): ProcessRef | undefined {
  const fields = statFields(pid);
  const [state] = fields ?? [];
  const startTicks = fields?.[19];
  return startTicks === undefined || state === 'Z' || state === 'X' ? undefined : { pid, startTicks };
}

/** The words that a process was started with; none when it is gone. */
export function wordsOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return [];
    throw error;
  }
}

export function isRunning(ref: ProcessRef): boolean {
  return processRef(ref.pid)?.startTicks === ref.startTicks;
}

/** Sends a signal, unless the process is gone or its pid belongs to another one now. */
export function signalProcess(ref: ProcessRef, signal: NodeJS.Signals): void {
  if (!isRunning(ref)) return;
  try {
    process.kill(ref.pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
