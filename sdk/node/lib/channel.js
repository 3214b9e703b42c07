'use strict';
// Talking with other services through ganger: requests, topics, large bodies, handles. The words are in docs/channel.md.
//
//   request ──▶ waiting ──response──▶ settled          message ──▶ line of its subscription ──▶ handler ──took──▶ ganger
//                  └── $sync: {"$g":"open"}, and what the new daemon does not know comes back as `gone`

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { ChannelError, RequestError, describe } = require('./errors');
const { BODY_MIN, isSmall } = require('./sizes');
const { workersTransport } = require('./transport');
const { version } = require('../package.json');

/** The longest line that ganger takes is 16 MiB; the words around a payload are in it too. */
const LINE_MAX = (16 << 20) - (64 << 10);
/** Messages of a subscription that may wait in this process; ganger keeps (and bounds) the others. */
const WINDOW = 32;
/** Answered by ganger at the deadline; this much later we stop waiting for a daemon that is away. */
const GRACE_MS = 15_000;
const TIMEOUT_MS = 30_000;

class Channel {
  /** @param link How words come and go: see `own` and `shared`. */
  constructor(link) {
    this.link = link;
    this.waiting = new Map();
    this.running = new Map();
    this.handlers = new Map();
    this.subscriptions = new Map();
    this.lent = new Set();
    this.next = 1;
    this.bodies = 0;
    link.open((message, handle) => this.#hear(message, handle), () => this.#closed());
    this.#hello();
  }

  ready() {
    this.#send('ready');
  }

  handle(kind, handler) {
    if (typeof handler !== 'function') throw new TypeError(`the handler of kind "${kind}" is not a function`);
    if (this.handlers.has(kind)) throw new Error(`kind "${kind}" has a handler already`);
    this.handlers.set(kind, handler);
    return this;
  }

  onHandle(kind, handler) {
    return this.handle(kind, (payload, request) => {
      if (request.handle === undefined) throw new TypeError(`kind "${kind}" takes a handle, and none came`);
      return handler(request.handle, payload, request);
    });
  }

  request(to, kind, payload, { timeout = TIMEOUT_MS, signal, handle, body } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const id = this.next++;
      const onAbort = () => {
        this.#send({ $g: 'cancel', id });
        this.#settle(id, (entry) => entry.reject(signal.reason));
      };
      const late = () => this.#settle(id, (entry) => entry.reject(new RequestError('deadline', `"${to}" did not answer in time`)));
      const timer = setTimeout(late, Math.min(timeout + GRACE_MS, 2 ** 31 - 1));
      timer.unref();
      this.waiting.set(id, { resolve, reject, timer, signal, onAbort });
      signal?.addEventListener('abort', onAbort);
      try {
        this.#carry({ $g: 'request', id, to, kind: kind ?? '', timeout_ms: timeout }, 'payload', payload, body, handle);
      } catch (why) {
        this.#settle(id, (entry) => entry.reject(why));
      }
    });
  }

  sendHandle(to, kind, handle, payload = null, options = {}) {
    return this.request(to, kind, payload, { ...options, handle });
  }

  publish(topic, payload, { body } = {}) {
    this.#carry({ $g: 'publish', topic }, 'payload', payload, body);
  }

  subscribe(topic, handler, { window = WINDOW, onGap } = {}) {
    if (typeof handler !== 'function') throw new TypeError(`the handler of topic "${topic}" is not a function`);
    if (this.subscriptions.has(topic)) throw new Error(`topic "${topic}" is subscribed to already`);
    const subscription = { topic, handler, window, onGap, queue: [], busy: false, took: 0 };
    this.subscriptions.set(topic, subscription);
    this.#send({ $g: 'subscribe', topic, window });
    return () => {
      if (this.subscriptions.delete(topic)) this.#send({ $g: 'unsubscribe', topic });
    };
  }

  #hello() {
    // A worker of a pool has said its own, and takes no bodies.
    if (!this.link.lines) this.#send({ $hello: { sdk: 'node', version, bodies: 'path' } });
  }

  #send(message, handle) {
    if (!this.link.connected()) throw new ChannelError('ganger closed the channel');
    this.link.send(message, handle);
  }

  /** Sends a message with what it carries: in it, or beside it as memory. */
  #carry(message, name, payload, body, handle) {
    if (this.link.lines) return this.#inLine(message, name, payload, body, handle);
    if (body === undefined && isSmall(payload)) {
      this.#send({ ...message, [name]: payload ?? null }, handle);
      return;
    }
    const text = JSON.stringify(payload ?? null);
    if (text === undefined) throw new TypeError(`a ${typeof payload} can't be written as JSON`);
    if (body === undefined && (text.length <= BODY_MIN || handle !== undefined)) {
      this.#send({ ...message, [name]: payload ?? null }, handle);
      return;
    }
    if (handle !== undefined) throw new TypeError('a message carries a handle or a body, not both');
    const bytes = body === undefined ? Buffer.from(text) : Buffer.from(body.buffer ?? body, body.byteOffset ?? 0, body.byteLength);
    const fd = this.#memory(bytes);
    const is = body === undefined ? 'payload' : 'bytes';
    const inline = body === undefined ? {} : { [name]: payload ?? null };
    this.lent.add(fd);
    this.#send({ ...message, ...inline, body: { size: bytes.length, is, fd } });
  }

  /** On the channel that brings tasks. */
  #inLine(message, name, payload, body, handle) {
    if (handle !== undefined || body !== undefined) {
      throw new TypeError('a worker of a pool sends no handles and no bytes beside a payload: a service with `channel = true` can');
    }
    if (!isSmall(payload)) {
      const text = JSON.stringify(payload ?? null);
      if (text === undefined) throw new TypeError(`a ${typeof payload} can't be written as JSON`);
      if (Buffer.byteLength(text) > LINE_MAX) throw new RequestError('too_large', 'a worker of a pool sends at most 16 MiB in a message');
    }
    this.#send({ ...message, [name]: payload ?? null });
  }

  /** A file in memory that has no name. Node can't make a memfd; ganger makes one of it. */
  #memory(bytes) {
    const folder = fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
    const name = path.join(folder, `ganger-${process.pid}-${this.bodies++}-${Math.random().toString(36).slice(2)}`);
    const fd = fs.openSync(name, 'wx+', 0o600);
    fs.unlinkSync(name);
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at);
    return fd;
  }

  #hear(message, handle) {
    if (message === null || typeof message !== 'object') return;
    if (message.$sync !== undefined) this.#sync();
    else if (message.$g === 'request') this.#asked(message, handle);
    else if (message.$g === 'cancel') this.running.get(message.id)?.abort(new RequestError(message.why, 'nobody waits for the answer'));
    else if (message.$g === 'response') this.#answered(message);
    else if (message.$g === 'message') this.#message(message);
    else if (message.$g === 'gap') this.subscriptions.get(message.topic)?.onGap?.(message.missed);
    else if (message.$g === 'copied') this.#copied(message.fd);
    else if (message.$g === 'refused') process.emitWarning(`ganger refused a message: ${message.error.message}`);
  }

  #copied(fd) {
    if (this.lent.delete(fd)) fs.closeSync(fd);
  }

  /** A body that nobody wants any more: ganger may let go of it. */
  #unused({ body }) {
    if (body?.path !== undefined) this.#send({ $g: 'opened', fd: Number(body.path.slice(body.path.lastIndexOf('/') + 1)) });
  }

  /** What a message carries. */
  #cargo(message, name) {
    const { body } = message;
    if (body === undefined) return { payload: message[name] };
    let bytes;
    try {
      bytes = fs.readFileSync(body.path);
    } catch (why) {
      throw new ChannelError(`can't open the body of a message (does this process run as another user than ganger?): ${why.message}`);
    } finally {
      this.#unused(message);
    }
    return body.is === 'payload' ? { payload: JSON.parse(bytes.toString()) } : { payload: message[name], body: bytes };
  }

  async #asked(message, handle) {
    const abort = new AbortController();
    this.running.set(message.id, abort);
    let answer;
    try {
      const handler = this.handlers.get(message.kind) ?? this.handlers.get('*');
      if (handler === undefined) {
        this.#unused(message);
        throw new Error(`there is no handler for kind "${message.kind}"`);
      }
      const { payload, body } = this.#cargo(message, 'payload');
      const { from, kind, timeout_ms: timeout } = message;
      const result = await handler(payload, { from, kind, timeout, signal: abort.signal, handle, body });
      answer = () => this.#carry({ $g: 'response', id: message.id }, 'result', result);
      if (Buffer.isBuffer(result)) answer = () => this.#carry({ $g: 'response', id: message.id }, 'result', null, result);
    } catch (thrown) {
      answer = () => this.#send({ $g: 'response', id: message.id, error: describe(thrown) });
    }
    // Not running any more: a new daemon, or nobody, waits for it.
    if (!this.running.delete(message.id) || !this.link.connected()) return;
    try {
      answer();
    } catch (why) {
      this.#send({ $g: 'response', id: message.id, error: describe(why) });
    }
  }

  #settle(id, how) {
    const entry = this.waiting.get(id);
    if (entry === undefined) return;
    this.waiting.delete(id);
    clearTimeout(entry.timer);
    entry.signal?.removeEventListener('abort', entry.onAbort);
    how(entry);
  }

  #answered(message) {
    if (!this.waiting.has(message.id)) return this.#unused(message);
    this.#settle(message.id, ({ resolve, reject }) => {
      if (message.error !== undefined) {
        reject(new RequestError(message.code ?? 'error', message.error?.message ?? JSON.stringify(message.error), message.error));
        return;
      }
      try {
        const { payload, body } = this.#cargo(message, 'result');
        resolve(body ?? payload);
      } catch (why) {
        reject(why);
      }
    });
  }

  #message(message) {
    const subscription = this.subscriptions.get(message.pattern ?? message.topic);
    if (subscription === undefined) return this.#unused(message);
    subscription.queue.push(message);
    if (!subscription.busy) this.#serve(subscription);
  }

  /** One after the other: a handler that takes its time is a slow subscriber, and ganger counts what it misses. */
  async #serve(subscription) {
    subscription.busy = true;
    while (subscription.queue.length > 0) {
      const message = subscription.queue.shift();
      try {
        const { payload, body } = this.#cargo(message, 'payload');
        await subscription.handler(payload, { topic: message.topic, from: message.from, body });
      } catch (thrown) {
        process.emitWarning(`the handler of topic "${subscription.topic}" failed: ${thrown?.stack ?? thrown}`);
      }
      subscription.took += 1;
      if (subscription.took * 2 >= subscription.window && this.link.connected()) {
        this.#send({ $g: 'took', topic: subscription.topic, n: subscription.took });
        subscription.took = 0;
      }
    }
    subscription.busy = false;
  }

  /** A new daemon: it knows no subscription, and only those requests that the old one had not read. */
  #sync() {
    for (const abort of this.running.values()) abort.abort(new RequestError('gone', 'the daemon that asked is gone'));
    this.running.clear();
    // What the old one had not read, the new one will copy; the rest it never says a word about.
    const lent = [...this.lent];
    setTimeout(() => lent.forEach((fd) => this.#copied(fd)), GRACE_MS).unref();
    this.#hello();
    for (const { topic, window } of this.subscriptions.values()) {
      this.#send({ $g: 'subscribe', topic, window });
    }
    this.#send({ $g: 'open', ids: [...this.waiting.keys()] });
    for (const { onGap } of this.subscriptions.values()) onGap?.(undefined);
  }

  #closed() {
    for (const id of [...this.waiting.keys()]) {
      this.#settle(id, ({ reject }) => reject(new RequestError('gone', 'ganger closed the channel')));
    }
    for (const abort of this.running.values()) abort.abort(new RequestError('gone', 'ganger closed the channel'));
  }
}

let one = null;

/** The channel of this process. */
function channel() {
  one ??= new Channel(findLink());
  return one;
}

function findLink() {
  const worker = workersTransport();
  if (worker !== null) {
    if (worker.peers) return shared(worker);
    throw new ChannelError('There is no channel to others: the pool of this worker has no `channel = true` in ganger.toml.');
  }
  if (!process.send) {
    throw new ChannelError(
      'There is no channel: this service was not started by ganger, or has no `channel = true` in ganger.toml. ' +
        'npm, npx, yarn and pnpm keep it for themselves: let ganger start node itself.',
    );
  }
  delete process.env.GANGER_CHANNEL_FD;
  return own();
}

/** A service's: Node's own channel, with handles. */
function own() {
  return {
    lines: false,
    open(hear, closed) {
      process.on('message', hear);
      process.on('disconnect', closed);
    },
    connected: () => process.connected,
    send: (message, handle) => process.send(message, handle, undefined, () => {}),
  };
}

/** The one that brings a worker's tasks. */
function shared(transport) {
  let open = true;
  return {
    lines: true,
    open(hear, closed) {
      const take = (message) => {
        hear(message);
        // A word of another process is nothing for worker(), which may never be called.
        if (message?.$g === undefined) transport.early?.push(message);
      };
      transport.open(take, () => {
        open = false;
        closed();
      });
    },
    connected: () => open,
    send: (message) => transport.send(message),
  };
}

module.exports = { channel };
