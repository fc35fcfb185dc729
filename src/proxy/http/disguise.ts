/*
 * Names of fields that some servers take for one another. CGI and what came of it (WSGI, Rack, FastCGI) hand `X-Role` and
 * `X_Role` to the program as HTTP_X_ROLE, PHP `X.Role` too, and older ones whatever is neither letter nor digit.
 */

const DASH = 0x2d;

/** A byte of a name as such servers read it: lower case, and one for all that is neither letter nor digit. */
export function folded(byte: number): number {
  if (byte >= 0x41 && byte <= 0x5a) return byte | 0x20;
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) ? byte : DASH;
}

/** A name as such servers read it: names that they take for one another give the same text. */
export function foldedName(name: string): string {
  return String.fromCharCode(...Array.from(name, (char) => folded(char.charCodeAt(0))));
}

/** Whether a name is another than `lower`, and the same to such servers. Both are in lower case. */
export function isDisguise(name: string, lower: string): boolean {
  if (name.length !== lower.length || name === lower) return false;
  for (let i = 0; i < name.length; i++)
    if (folded(name.charCodeAt(i)) !== folded(lower.charCodeAt(i))) return false;
  return true;
}
