/** Primary result codes of SQLite (https://sqlite.org/rescode.html). */
const Sqlite = {
  busy: 5,
  locked: 6,
  readonly: 8,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
} as const;

function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number')
    return undefined;
  return error.errcode & 0xff;
}

/** Another process holds the lock: the same call succeeds a moment later. */
export function isBusy(error: unknown): boolean {
  const code = resultCode(error);
  return code === Sqlite.busy || code === Sqlite.locked;
}

/** The file's content is not, or no longer, a database. */
export function isCorrupt(error: unknown): boolean {
  const code = resultCode(error);
  return code === Sqlite.corrupt || code === Sqlite.notADatabase;
}

/** What to tell the operator. */
export function remedy(error: unknown): string {
  switch (resultCode(error)) {
    case Sqlite.full:
      return 'free space on the file system of the store';
    case Sqlite.readonly:
      return 'make the store file and its folder writable for the agent';
    case Sqlite.cannotOpen:
      return 'create the folder of the store and make it writable for the agent';
    default:
      return 'look at the disk below the store (dmesg)';
  }
}
