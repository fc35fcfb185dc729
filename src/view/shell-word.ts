const PLAIN = /^[A-Za-z0-9._:/-]+$/;

/**
 * A name as one word of a command that somebody may copy into a shell: in single quotes (POSIX shell §2.2.2) where anything
 * in it could mean something else there. Names come from lists that others write.
 */
export function shellWord(name: string): string {
  return PLAIN.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}
