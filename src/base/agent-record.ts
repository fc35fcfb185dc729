import { readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { writeFileAtomically } from './atomic-file.ts';

/** What an agent leaves in its state folder for tools that find nothing but the folder, also once it is dead. */
export interface AgentRecord {
  readonly nodeName: string;
  /** Folder of its pinned maps and links. */
  readonly bpfDir: string;
  readonly pid: number;
  /** RFC 3339. */
  readonly startedAt: string;
}

function recordFile(stateDir: string): string {
  return join(stateDir, 'agent.json');
}

/** @throws SystemError code STATE_UNWRITABLE */
export function writeAgentRecord(stateDir: string, record: AgentRecord): void {
  writeFileAtomically(recordFile(stateDir), `${JSON.stringify(record)}\n`);
}

function isRecord(value: unknown): value is AgentRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { nodeName, bpfDir, pid, startedAt } = value as Readonly<Record<string, unknown>>;
  const texts = typeof nodeName === 'string' && typeof startedAt === 'string';
  return texts && typeof bpfDir === 'string' && isAbsolute(bpfDir) && Number.isSafeInteger(pid);
}

/** The record of the last agent that started on a state folder; undefined where there is none that can be read. */
export function readAgentRecord(stateDir: string): AgentRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(recordFile(stateDir), 'utf8'));
    return isRecord(value) ? value : undefined;
  } catch (error) {
    // No agent ran here, it is one without records, or we may not look: the flag and the default are left.
    if (error instanceof SyntaxError || (error instanceof Error && 'code' in error)) return undefined;
    throw error;
  }
}
