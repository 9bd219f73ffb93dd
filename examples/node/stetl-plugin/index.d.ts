// The messages are those of proto/, with their names as there.

export type Action =
  | "ACTION_CREATED" | "ACTION_UPDATED" | "ACTION_UNCHANGED" | "ACTION_SKIPPED" | "ACTION_REJECTED" | "ACTION_IN_DOUBT" | "ACTION_DELETED";

export interface User {
  source_id: string;
  id: string;
  username: string;
  email: string;
  email_verified?: boolean;
  given_name: string;
  family_name: string;
  enabled: boolean;
  password: { encoded: string; scheme: string } | null;
  existing: "EXISTING_UNSPECIFIED" | "EXISTING_LEAVE" | "EXISTING_UPDATE";
  expect_state?: Buffer;
  prior: { target_id: string; state: Buffer; in_doubt: boolean } | null;
  /** All other fields of the message User. */
  [field: string]: unknown;
}

export interface Account {
  source_id: string;
  target_id: string;
  id: string;
  state: Buffer;
  before?: Buffer;
  in_doubt: boolean;
}

export interface Outcome {
  source_id: string;
  action: Action;
  target_id?: string;
  code?: string;
  detail?: string;
  hint?: string;
  changed?: string[];
  state?: Buffer;
  before?: Buffer;
  losses?: { feature: string; code: string; attribute?: string; detail?: string }[];
}

export interface Change {
  outcome: Outcome;
  fields?: { field: string; old: string; new: string; drift?: boolean }[];
}

export interface Diagnostic {
  severity: "SEVERITY_ERROR" | "SEVERITY_WARNING";
  code: string;
  path?: string;
  summary: string;
  detail?: string;
  hint?: string;
}

export interface Context {
  fingerprints: Fingerprints;
  userAgent: string;
  saved: Record<string, Buffer>;
}

/** What a plugin is. Only load is required of the methods that speak to the target. */
export interface Target {
  name: string;
  version: string;
  /** JSON Schema of the configuration, an object. */
  schema: object;
  capabilities: object;
  codes?: { code: string; meaning: string; remedy: string; path?: string; permanent?: boolean }[];
  configure(config: any, context: Context): Diagnostic[] | void | Promise<Diagnostic[] | void>;
  load(user: User): Outcome | Promise<Outcome>;
  plan?(user: User): Change | Promise<Change>;
  undo?(account: Account): Outcome | Promise<Outcome>;
  check?(needs: object): Diagnostic[] | Promise<Diagnostic[]>;
  login?(targetId: string, username: string, password: string): boolean | Promise<boolean>;
  /** Hears what roles allow, maybe in several calls, and writes nothing: that is for load and finish. The capabilities carry role_permissions. */
  defineRoles?(roles: { name: string; permissions: string[] }[]): void | Promise<void>;
  finish?(): void | Promise<void>;
  close?(): void | Promise<void>;
}

/** Fingerprints under the key of the host, of which nobody can guess the account. */
export class Fingerprints {
  constructor(key: Buffer);
  /** A few letters that stand for a secret in a plan. */
  of(value: string): string;
  /** What would be compared next time. */
  state(record: Record<string, unknown>): Buffer;
}

/** Thrown for a user that the target cannot take. */
export class Reject extends Error {
  constructor(code: string, detail: string, hint?: string);
}

export function outcome(user: { source_id: string }, action: Action, fields?: Partial<Outcome>): Outcome;
export const log: Record<"debug" | "info" | "warn" | "error", (msg: string, fields?: object) => void>;
export function serve(target: Target): void;
