/**
 * Secrets at rest: AES-256-GCM with the id of the key in front, so that keys can be rotated.
 * The master key comes from the configuration or from a file of the data folder that only the
 * service's user can read; it is never in a database.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export class SecretBox {
  readonly #key: Buffer;
  readonly #keyId: string;

  /** @param masterKey 32 bytes */
  constructor(masterKey: Buffer) {
    if (masterKey.length !== 32) throw new Error('the master key must have 32 bytes');
    this.#key = createHmac('sha256', masterKey).update('tidings/seal').digest();
    this.#keyId = createHmac('sha256', masterKey)
      .update('tidings/key-id')
      .digest('base64url')
      .slice(0, 8);
  }

  seal(plain: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce);
    const sealed = Buffer.concat([
      nonce,
      cipher.update(plain, 'utf8'),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
    return `${this.#keyId}.${sealed.toString('base64url')}`;
  }

  /** Throws when the text was sealed with another key or has been changed. */
  open(sealed: string): string {
    const [keyId, body] = sealed.split('.');
    if (keyId !== this.#keyId || body === undefined) {
      throw new Error(
        'a stored secret was sealed with another master key: restore the key of this data folder',
      );
    }
    const bytes = Buffer.from(body, 'base64url');
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, NONCE_BYTES));
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
    const text = decipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES));
    return Buffer.concat([text, decipher.final()]).toString('utf8');
  }

  /** A key for one purpose, derived from the master key: signing tokens, for example. */
  static derive(masterKey: Buffer, purpose: string): Buffer {
    return createHmac('sha256', masterKey).update(`tidings/${purpose}`).digest();
  }
}
