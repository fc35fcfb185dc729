import { UsageError } from '../../src/base/errors.ts';

/** What `Flags.custom` takes as `parse`: a value that `parse` refuses is told with the flag's name. */
export const checked =
  <T>(parse: (text: string) => T) =>
  (text: string, _context: unknown, { name }: { readonly name: string }): Promise<T> => {
    try {
      return Promise.resolve(parse(text));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      const { code, hint, message } = error;
      throw new UsageError(`--${name}: ${message}`, { code, hint });
    }
  };
