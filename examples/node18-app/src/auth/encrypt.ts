import * as crypto from 'crypto';

const ALGORITHM = 'aes-256-cbc';
const LEGACY = 'aes192';

export interface Sealed {
  readonly version: 1 | 2;
  readonly iv: string;
  readonly data: string;
}

/** Seals a note with a fresh IV. New notes use this. */
export function seal(text: string, key: Buffer): Sealed {
  const iv = crypto.randomBytes(16);
  const cipher = crypto.createCipheriv(ALGORITHM, key, iv);
  const data = cipher.update(text, 'utf8', 'base64') + cipher.final('base64');
  return { version: 2, iv: iv.toString('base64'), data };
}

export function open(sealed: Sealed, key: Buffer): string {
  const iv = Buffer.from(sealed.iv, 'base64');
  const decipher = crypto.createDecipheriv(ALGORITHM, key, iv);
  return decipher.update(sealed.data, 'base64', 'utf8') + decipher.final('utf8');
}

/*
 * The mobile app of 2019 still reads version 1. It called
 *   crypto.createCipher('aes192', password)
 * and so do we, until the last phone has the new version.
 */
export function sealLegacy(text: string, password: string): Sealed {
  const cipher = crypto.createCipher(LEGACY, password);
  const data = cipher.update(text, 'utf8', 'base64') + cipher.final('base64');
  return { version: 1, iv: '', data };
}
