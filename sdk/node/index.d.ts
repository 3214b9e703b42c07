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

/** A passed handle: what `process.send` of Node takes. */
export type Handle = import('node:net').Socket | import('node:net').Server | import('node:dgram').Socket;

/** A request that came. */
export interface Request {
  /** `NAME#SLOT`, or `api` for `ganger call`. */
  readonly from: string;
  readonly kind: string;
  /** Milliseconds that were left when it came. */
  readonly timeout: number;
  /** Aborted when nobody waits for the answer any more: deadline, cancelled, gone. */
  readonly signal: AbortSignal;
  readonly handle?: Handle;
  /** Bytes beside the payload. */
  readonly body?: Buffer;
}

export interface RequestOptions {
  /** Milliseconds; default 30 000. */
  timeout?: number;
  /** Aborted: the other side is told, and the promise rejects with the signal's reason. */
  signal?: AbortSignal;
  handle?: Handle;
  /** Bytes that go beside the payload as memory. */
  body?: Buffer | Uint8Array;
}

/** What a subscriber is told beside the payload. */
export interface Message {
  readonly topic: string;
  readonly from: string;
  readonly body?: Buffer;
}

/** The channel of a service with `channel = true`. */
export interface Channel {
  /** Counts as ready, for `ready = { channel = true }`. */
  ready(): void;
  /** Answers requests of a kind (`'*'`: of every other). A returned Buffer travels as memory; anything else is JSON. */
  handle(kind: string, handler: (payload: any, request: Request) => unknown): this;
  /** The same for requests that bring a handle. */
  onHandle(kind: string, handler: (handle: Handle, payload: any, request: Request) => unknown): this;
  /** Asks `NAME` (any ready instance) or `NAME#SLOT`. Rejects with a `RequestError`. */
  request<R = any>(to: string, kind: string, payload?: unknown, options?: RequestOptions): Promise<R>;
  /** Passes a socket or server on; the promise is the other side's answer. */
  sendHandle<R = any>(to: string, kind: string, handle: Handle, payload?: unknown, options?: RequestOptions): Promise<R>;
  /** Tells all who subscribed. */
  publish(topic: string, payload?: unknown, options?: { body?: Buffer | Uint8Array }): void;
  /**
   * Hears a topic, or with a trailing `*` all that begin so. The handler is awaited before it gets the next; `window` (32) may wait here, and what waits
   * at ganger is bounded: `onGap` is told how many were dropped (undefined: not known, the daemon changed). Gives a function that ends it.
   */
  subscribe(topic: string, handler: (payload: any, message: Message) => unknown, options?: { window?: number; onGap?: (missed: number | undefined) => void }): () => void;
}

/** The channel of this process; the same at every call. Throws `ChannelError` when there is none. */
export function channel(): Channel;

/** A request without a result. */
export class RequestError extends Error {
  readonly code: 'error' | 'nobody' | 'busy' | 'too_large' | 'deadline' | 'cancelled' | 'gone';
  /** The other side's own error, where `code` is `error`. */
  readonly remote?: { message: string; class?: string; stack?: string };
}
