export interface Credentials {
  hash: string;
  password: string;
}

export interface Options {
  /** Base64, of hashes that came from Firebase by way of SuperTokens. */
  firebaseSignerKey?: string;
  /** Verifies every other hash, such as those that the application makes itself. */
  fallback?: (credentials: Credentials) => boolean | Promise<boolean>;
  /** Called with a carried hash and the password that was right for it. */
  onVerified?: (credentials: Credentials) => void | Promise<void>;
}

/** Says whether a hash is one that SuperTokens has kept. */
export function isCarried(hash: string): boolean;

/** Makes a function that verifies a password, as Better Auth's password.verify wants it. */
export function verifier(options?: Options): (credentials: Credentials) => Promise<boolean>;
