/**
 * Roles of embedded mode and what joins them. This folder is the only one that names both ports
 * and engines: each file builds one role from the configuration and its message ports. A role is a
 * thread, or part of the caller's own thread (tests); the code is the same.
 *
 *   api ──write──► writer ◄──claim, complete── engine ◄──publish── api
 *   api ◄──hints── engine        api ──"is it shown yet?"──► tracker
 */
import type { MessagePort } from 'node:worker_threads';
import type { Config } from '../config.ts';
import type { ThreadMetrics } from '../metric.ts';

export type RoleName = 'writer' | 'tracker' | 'engine' | 'api';

/** One end of each connection a role has. Names say what crosses it. */
export type PortName = 'messagesWriter' | 'recordsWriter' | 'projection' | 'queue' | 'hints';
export type Ports = Partial<Record<PortName, MessagePort>>;

export interface RoleOptions {
  config: Config;
  /** 32 bytes, hex: seals secrets and signs inbox tokens. */
  masterKey: string;
  ports: Ports;
  /** 0 for the first of its role. */
  index: number;
}

export interface RunningRole {
  /** Takes a further connection, to a thread that has been started anew. */
  connect(name: PortName, port: MessagePort): void;
  metrics(): Promise<ThreadMetrics>;
  /** Begins to end: refuses new work, goes on with what is under way. */
  drain(): void;
  stop(): Promise<void>;
}
