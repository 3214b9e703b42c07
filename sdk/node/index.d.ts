/** What JSON can say. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** One attempt of a task. */
export interface Task {
  /** 13 characters; the same in every attempt. */
  readonly id: string;
  /** As given to `ganger push --kind`; empty if none was. */
  readonly kind: string;
  readonly queue: string;
  /** From 1. */
  readonly attempt: number;
  /** Fencing token of this attempt. Give it to systems that can refuse late writers. */
  readonly token: string;
  /** Aborted when the task is cancelled or timed out, or when ganger is gone. Pass it on to `fetch` and friends. */
  readonly signal: AbortSignal;
  /** Tells how far the task is: a number from 0 to 100, or any small JSON, and what it is at. Only the newest is kept. */
  progress(value: unknown, message?: string): void;
  /** Adds a line (or several) to the attempt's log; parts as for `console.log`. The newest 500 lines are kept. */
  log(...parts: unknown[]): void;
}

/** Does one task. What it returns (or its promise gives) is the result and must be JSON; `undefined` counts as `null`. */
export type Handler<P = any> = (payload: P, task: Task) => unknown;

export interface WorkerOptions {
  /** Tasks run at once; default 1. More helps only handlers that wait for something. */
  concurrency?: number;
}

/**
 * Makes this process a worker: of one function for every kind, or of one function per kind (`'*'` takes the others).
 * Throws `ChannelError` when ganger can't be reached from here.
 */
export function worker(handlers: Handler | Record<string, Handler>, options?: WorkerOptions): void;

/** Thrown by a handler: another attempt would fail as well, so the task is discarded at once. */
export class NonRetryableError extends Error {
  constructor(message: string, options?: { cause?: unknown });
}

/** Thrown by a handler: try again, but not before so many seconds. */
export class RetryAfterError extends Error {
  constructor(message: string, seconds: number, options?: { cause?: unknown });
  readonly seconds: number;
}

/** The reason of an aborted `task.signal`. */
export class Cancelled extends Error {}

/** This process can't talk to ganger; the message says why and what to do. */
export class ChannelError extends Error {}
