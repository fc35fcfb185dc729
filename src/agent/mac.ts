import { UsageError } from '../base/errors.ts';
import type { MacBytes } from '../datapath/types.ts';

/** Reads `aa:bb:cc:dd:ee:ff`. @throws UsageError code MAC_INVALID */
export function parseMac(text: string): MacBytes {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
    throw new UsageError(`${JSON.stringify(text)} is not a MAC address (aa:bb:cc:dd:ee:ff)`, {
      code: 'MAC_INVALID',
    });
  }
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

export function formatMac(bytes: MacBytes): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
