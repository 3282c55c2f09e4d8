/**
 * Port: applications and their API keys. Writes are durable when they resolve. Reads see writes of
 * the same process at once and those of others within 5 s, so that a revoked key stops within 5 s.
 * Keys of applications are compared exactly: case and trailing spaces matter.
 */
import type { ApiKey, Application } from '@tidings/contracts/application';
import type { KeyKind, Scope } from '@tidings/contracts/common';

/** What a valid credential allows. */
export interface Caller {
  applicationId: number;
  /** The application's key, as people write it. */
  application: string;
  keyId: number;
  kind: KeyKind;
  scopes: readonly Scope[];
}

export interface ApplicationRecord extends Application {
  id: number;
}

export interface NewApiKey {
  applicationId: number;
  name: string;
  kind: KeyKind;
  scopes: readonly Scope[];
  /** SHA-256 of the key, hex. The key itself is never stored. */
  digest: string;
  prefix: string;
  /** A session of the dashboard: not listed among the keys. */
  session: boolean;
  expiresAt: number | null;
}

export interface ApplicationStore {
  /** Of concurrent calls for one key exactly one creates. @throws already_exists */
  create(input: { key: string; name: string }): Promise<ApplicationRecord>;
  byKey(key: string): Promise<ApplicationRecord | undefined>;
  /** Cheap: for showing whose a message is. */
  byId(id: number): Promise<ApplicationRecord | undefined>;
  /** Newest first, below `before`. */
  list(page: { limit: number; before: number | null }): Promise<ApplicationRecord[]>;

  /** @throws already_exists when the digest is known, not_found when the application is not */
  createKey(input: NewApiKey): Promise<ApiKey>;
  /**
   * The caller of a key that is neither revoked nor expired. Hot: called for each request. Takes
   * the same time however much of the digest is right. The same object may be handed out again.
   */
  authenticate(digest: string): Caller | undefined;
  /** The key with this digest, also when it is revoked or has expired. */
  keyByDigest(digest: string): Promise<ApiKey | undefined>;
  /** A key of the application, also a session, and also when it is revoked or has expired. */
  keyById(applicationId: number, keyId: number): Promise<ApiKey | undefined>;
  /** Without sessions; newest first, below `before`. */
  listKeys(
    applicationId: number,
    page: { limit: number; before: number | null },
  ): Promise<ApiKey[]>;
  /** False when the application has no such key. Idempotent: the first time stands. */
  revokeKey(applicationId: number, keyId: number): Promise<boolean>;

  /** Remembers the digest of a one-time admin link. */
  createAdminLink(digest: string, expiresAt: number): Promise<void>;
  /** True once for a link that is known and not expired, also when calls are concurrent. */
  useAdminLink(digest: string): Promise<boolean>;
}
