import { readFileSync } from 'node:fs';

/** Priority of everything that takes part in a bench over the network, so that what else the machine does disturbs less. */
export const NICE = -10;

/** Words before a command that gives it {@link NICE}. */
export const NICELY: readonly string[] = ['nice', '-n', String(NICE)];

/** CPU time that a process has taken so far, all its threads, in milliseconds; `utime` and `stime` of proc(5). */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // Fields 14 and 15, counted from 1; what follows the name in brackets begins with the third. USER_HZ is 100.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
