'use strict';
// Tasks in, answers out.
//
//   message ──▶ queue ──▶ running (≤ concurrency) ──▶ outbox ──one array per turn──▶ ganger
//                                                └──▶ unacknowledged ──$ack──▶ forgotten
//
// An answer is remembered until ganger says that it is committed, so that a new daemon ($sync) can be told it again.

const { format } = require('node:util');
const { Cancelled, NonRetryableError, describe } = require('./errors');
const { version } = require('../package.json');

/** Answers are sent at the latest when handlers have held the thread for so long, and other messages are looked at. */
const SLICE_MS = 1;
/** A progress waits at most so long for the end of a turn. */
const PROGRESS_MS = 50;
/** Answers remembered at most. Ganger acknowledges at every commit, so this many are never open unless it went wrong. */
const UNACKED_MAX = 100_000;
/** When the channel is closed, running tasks get so long to notice their signal. */
const CLOSE_GRACE_MS = 5_000;

class Task {
  #worker;
  #abort = null;
  #reason = null;

  constructor(worker, message) {
    this.#worker = worker;
    this.id = message.id;
    this.kind = message.kind;
    this.queue = message.queue;
    this.attempt = message.attempt;
    this.token = message.token;
  }

  /** Made when first asked for: most handlers never do. */
  get signal() {
    if (this.#abort === null) {
      this.#abort = new AbortController();
      if (this.#reason !== null) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }

  progress(value, message) {
    if (!this.#worker.isRunning(this)) return;
    const { id, token } = this;
    const said = { id, token, progress: value ?? null };
    if (message !== undefined && message !== null) said.message = String(message);
    this.#worker.tellProgress(this, said);
  }

  log(...parts) {
    if (!this.#worker.isRunning(this)) return;
    const { id, token } = this;
    this.#worker.tell({ id, token, log: format(...parts) });
    // Out before anything else happens: the lines before a crash are those that are wanted.
    this.#worker.flush();
  }

  /** Not for handlers. */
  static cancel(task, why) {
    task.#reason ??= new Cancelled(why);
    task.#abort?.abort(task.#reason);
  }
}

class Worker {
  constructor(transport, handlers, { concurrency = 1 } = {}) {
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      throw new RangeError(`concurrency must be a whole number from 1, not ${concurrency}`);
    }
    this.transport = transport;
    this.handlerOf = chooser(handlers);
    this.concurrency = concurrency;
    /** Received and not started: messages, from `head` on. */
    this.queue = [];
    this.head = 0;
    /** Started and not answered. */
    this.running = new Map();
    this.outbox = [];
    this.flushAsked = false;
    this.pumpAsked = false;
    /** Progress that waits in the outbox, by task: a newer one takes its place. */
    this.waitingProgress = new Map();
    this.flushedAt = 0;
    /** Answers of this session that are not acknowledged; the first is number `acked`. */
    this.unacked = [];
    this.acked = 0;
    this.draining = false;
    this.closed = false;
  }

  start() {
    const hello = { sdk: 'node', version, concurrency: this.concurrency, batch: true, ping: true };
    this.transport.open((message) => this.receive(message), () => this.close());
    this.transport.send({ $hello: hello });
    const early = this.transport.early ?? [];
    this.transport.early = null;
    for (const message of early) this.receive(message);
  }

  receive(message) {
    if (Array.isArray(message)) for (const one of message) this.take(one);
    else this.take(message);
    this.pump();
  }

  take(message) {
    // A word of another process is for `channel()`.
    if (message === null || typeof message !== 'object' || message.$g !== undefined) return;
    if (typeof message.id === 'string') this.queue.push(message);
    else if (message.$ack !== undefined) this.forget(message.$ack);
    else if (message.$cancel !== undefined) this.cancel(message.$cancel);
    else if (message.$sync !== undefined) this.sync(message.$sync);
    else if (message.$drain) this.draining = true;
    // At once: a thread that a handler holds is silent, and that is what is asked.
    else if (message.$ping !== undefined) this.transport.send({ $pong: message.$ping });
    // Anything else is from a newer ganger and not for us.
  }

  /** Starts what may be started. */
  pump() {
    const began = performance.now();
    while (this.head < this.queue.length && this.running.size < this.concurrency && !this.closed) {
      const message = this.queue[this.head];
      this.head += 1;
      this.run(message);
      if (performance.now() - began > SLICE_MS) {
        this.flush();
        this.askPump();
        return;
      }
    }
    if (this.head === this.queue.length) {
      this.queue.length = this.head = 0;
      if (this.draining && this.running.size === 0) this.end();
    }
  }

  askPump() {
    if (this.pumpAsked) return;
    this.pumpAsked = true;
    setImmediate(() => {
      this.pumpAsked = false;
      this.pump();
    });
  }

  run(message) {
    const task = new Task(this, message);
    this.running.set(task.id, task);
    if (this.concurrency > 1) this.tell({ id: task.id, started: true });
    let result;
    try {
      result = this.handlerOf(task)(message.payload, task);
    } catch (thrown) {
      this.answer(task, { id: task.id, error: describe(thrown) });
      return;
    }
    if (typeof result?.then !== 'function') {
      this.answer(task, resultOf(task.id, result));
      return;
    }
    result.then(
      (value) => this.settled(task, resultOf(task.id, value)),
      (thrown) => this.settled(task, { id: task.id, error: describe(thrown) }),
    );
  }

  settled(task, answer) {
    this.answer(task, answer);
    if (this.closed) this.leaveIfIdle();
    else if (!this.pumpAsked) this.pump();
  }

  answer(task, answer) {
    this.running.delete(task.id);
    this.unacked.push(answer);
    if (this.unacked.length > UNACKED_MAX) this.forget(this.acked + 1);
    this.tell(answer);
  }

  /** Sends at the end of this turn of the event loop, with all that comes until then. */
  tell(message) {
    this.outbox.push(message);
    if (!this.flushAsked) {
      this.flushAsked = true;
      setImmediate(() => this.flush());
    }
  }

  isRunning(task) {
    return this.running.get(task.id) === task;
  }

  /** Only the newest counts; a handler that holds the thread is heard now and then. */
  tellProgress(task, said) {
    const before = this.waitingProgress.get(task.id);
    if (before === undefined) {
      this.waitingProgress.set(task.id, said);
      this.tell(said);
    } else {
      delete before.message;
      Object.assign(before, said);
    }
    if (performance.now() - this.flushedAt > PROGRESS_MS) this.flush();
  }

  flush(done) {
    this.flushAsked = false;
    this.flushedAt = performance.now();
    this.waitingProgress.clear();
    const all = this.outbox;
    this.outbox = [];
    if (all.length === 0) {
      done?.();
      return;
    }
    try {
      this.transport.send(all.length === 1 ? all[0] : all, done);
    } catch {
      // One of them is no JSON (a BigInt, a circle): find it, and make it the error of its task.
      for (const message of all) this.sendOne(message);
      done?.();
    }
  }

  sendOne(message) {
    try {
      this.transport.send(message);
    } catch (why) {
      if (message.progress !== undefined) return;
      const bad = new NonRetryableError(`the result can't be written as JSON: ${why.message}`);
      delete message.result;
      // The remembered answer is this very object.
      message.error = describe(bad);
      this.transport.send(message);
    }
  }

  /** So many answers of this session are committed. */
  forget(upTo) {
    const gone = Math.min(upTo - this.acked, this.unacked.length);
    if (gone > 0) {
      this.unacked.splice(0, gone);
      this.acked += gone;
    }
  }

  cancel(id) {
    const task = this.running.get(id);
    if (task !== undefined) {
      Task.cancel(task, 'cancelled');
      return;
    }
    const at = this.queue.findIndex((message, n) => n >= this.head && message.id === id);
    if (at < 0) return;
    const [message] = this.queue.splice(at, 1);
    this.answer(message, { id, error: describe(new Cancelled('cancelled before it started')) });
  }

  /** A new daemon asks what is here; its session begins with the answers it has not got for sure. */
  sync({ n }) {
    this.outbox = this.outbox.filter((message) => message.result === undefined && message.error === undefined);
    this.flush();
    const waiting = this.queue.slice(this.head).map((message) => message.id);
    const running = [...this.running.keys(), ...waiting];
    const send = () => this.transport.send({ $sync: { n, running, done: this.unacked } });
    try {
      send();
    } catch {
      this.unacked = this.unacked.map(writable);
      send();
    }
    this.acked = 0;
  }

  /** Drained: says the last answers and ends the process. */
  end() {
    if (this.closed) return;
    this.closed = true;
    this.flush(() => process.exit(0));
  }

  /** Nobody is there any more. */
  close() {
    if (this.closed) return;
    this.closed = true;
    for (const task of this.running.values()) Task.cancel(task, 'ganger closed the channel');
    setTimeout(() => process.exit(0), CLOSE_GRACE_MS);
    this.leaveIfIdle();
  }

  leaveIfIdle() {
    if (this.running.size === 0) process.exit(0);
  }
}

/** An answer that JSON can say, for one that it may not. */
function writable(answer) {
  try {
    JSON.stringify(answer);
    return answer;
  } catch (why) {
    const bad = new NonRetryableError(`the result can't be written as JSON: ${why.message}`);
    return { id: answer.id, error: describe(bad) };
  }
}

function resultOf(id, value) {
  if (typeof value === 'function' || typeof value === 'symbol') {
    const bad = new NonRetryableError(`the result can't be written as JSON: it is a ${typeof value}`);
    return { id, error: describe(bad) };
  }
  return { id, result: value === undefined ? null : value };
}

/** The handler of a task, by its kind. */
function chooser(handlers) {
  if (typeof handlers === 'function') return () => handlers;
  const byKind = new Map(Object.entries(handlers ?? {}));
  for (const [kind, handler] of byKind) {
    if (typeof handler !== 'function') throw new TypeError(`the handler of kind "${kind}" is not a function`);
  }
  if (byKind.size === 0) throw new TypeError('worker() needs a function, or an object with a function per kind');
  const known = [...byKind.keys()].join(', ');
  const others = byKind.get('*');
  return (task) => {
    const handler = byKind.get(task.kind) ?? others;
    if (handler === undefined) {
      throw new NonRetryableError(`this worker has no handler for kind "${task.kind}"; it has: ${known}`);
    }
    return handler;
  };
}

module.exports = { Worker };
