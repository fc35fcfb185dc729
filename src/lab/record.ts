import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomically } from '../base/atomic-file.ts';
import { SystemError } from '../base/errors.ts';
import type { LabLayoutOptions } from './layout.ts';
import type { ProcessRef } from './processes.ts';

const RECORD_VERSION = 1;

/** One workload of a lab: an endpoint with its namespace and, perhaps, a program that runs in it. */
export interface WorkloadRecord {
  readonly name: string;
  /** `node1`. */
  readonly node: string;
  readonly netns: string | undefined;
  readonly ifname: string | undefined;
  readonly labels: readonly string[];
  readonly endpointId: number;
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  readonly process?: ProcessRef | undefined;
}

/** What another process must know to use a lab or take it down. Written before the first thing is made. */
export interface LabRecord {
  readonly version: typeof RECORD_VERSION;
  readonly options: LabLayoutOptions;
  /** Who builds it; a lab that is `up` belongs to nobody. */
  readonly builder: ProcessRef;
  readonly state: 'building' | 'up';
  readonly agents: Readonly<Record<string, ProcessRef>>;
  readonly workloads: readonly WorkloadRecord[];
}

export function newRecord(options: LabLayoutOptions, builder: ProcessRef): LabRecord {
  return { version: RECORD_VERSION, options, builder, state: 'building', agents: {}, workloads: [] };
}

export function writeRecord(file: string, record: LabRecord): void {
  writeFileAtomically(file, `${JSON.stringify(record, null, 2)}\n`);
}

function isRecord(value: unknown): value is LabRecord {
  return (
    typeof value === 'object' && value !== null && 'version' in value && value.version === RECORD_VERSION
  );
}

/**
 * @returns undefined when there is no such lab
 * @throws SystemError code LAB_RECORD when the file is there and cannot be understood
 */
export function readRecord(file: string): LabRecord | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (isRecord(value)) return value;
  } catch (cause) {
    throw new SystemError(`the record ${file} cannot be read`, { code: 'LAB_RECORD', cause });
  }
  throw new SystemError(`the record ${file} is of another version`, {
    code: 'LAB_RECORD',
    hint: '`ciliate lab down` removes the lab by its name all the same',
  });
}

/** Names of the labs that have a folder. */
export function listLabs(labsDir: string): readonly string[] {
  if (!existsSync(labsDir)) return [];
  return readdirSync(labsDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(labsDir, entry.name, 'lab.json')))
    .map((entry) => entry.name)
    .sort();
}
