import { UsageError } from '../base/errors.ts';
import { LocalStore } from './local/local-store.ts';
import type { Store, StoreLog } from './types.ts';

export { IdentityRangeFullError, StoreUnavailableError } from './errors.ts';
export { LocalStore, type LocalStoreDeps, type LocalStoreOptions } from './local/local-store.ts';
export type { IpIdentity, Store, StoreChange, StoreLog, StoreStatus } from './types.ts';

/**
 * Makes the store that a `--store` value names: `local:/path/to/store.db`.
 * @throws UsageError code STORE_INVALID
 */
export function createStore(spec: string, deps: { readonly log: StoreLog }): Store {
  const colon = spec.indexOf(':');
  const kind = colon < 0 ? spec : spec.slice(0, colon);
  const rest = colon < 0 ? '' : spec.slice(colon + 1);
  if (kind === 'local' && rest.startsWith('/')) return new LocalStore({ path: rest }, deps);
  throw new UsageError(`store ${JSON.stringify(spec)} is not understood`, {
    code: 'STORE_INVALID',
    hint: 'use local:/absolute/path/to/store.db',
  });
}
