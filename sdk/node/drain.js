'use strict';
// Lets an HTTP server end without an error on connections that are kept alive. Loaded before the program:
//
//     NODE_OPTIONS="--require ganger/drain" node server.js        (or `node_drain = true` in ganger.toml)
//
//   serving ──stop signal, PM2's "shutdown"──► draining ──last connection closed, or deadline──► the signal goes on
//           ──the cluster's `disconnect`─────►    (new connections are refused; every answer says `Connection: close`)
//
// `server.close()` alone closes idle connections at once (Node 19 and later), and a request that is on its way on one of them
// is lost. Here idle ones stay until their next request, their keep-alive timeout, or the deadline. Then the program's own handler
// of the signal runs, or the signal ends it as it would have. A program without an HTTP server has no handler of ours and pays
// for two patched functions. One that gets a second signal has it at once.
//
// GANGER_DRAIN_MS      the deadline in milliseconds (8000; below the time after which the program is killed)
// GANGER_DRAIN_SIGNAL  the stop signal (SIGTERM; under PM2 also SIGINT)

const { isMainThread } = require('node:worker_threads');

const LOADED = Symbol.for('ganger.drain');
const DEADLINE_MS = Number(process.env.GANGER_DRAIN_MS) || 8000;
const SIGNALS = process.env.GANGER_DRAIN_SIGNAL
  ? [process.env.GANGER_DRAIN_SIGNAL]
  : process.env.pm_id === undefined ? ['SIGTERM'] : ['SIGTERM', 'SIGINT'];

/** @type {Map<import('node:net').Server, Set<object>>} Servers that have listened, and their connections or sessions. */
const servers = new Map();
let draining = false;
/** What was kept from the program until all is drained: functions that pass it on. */
let kept = [];
let deadline = null;
/** Nothing is kept from the program any more. */
let over = false;
const { emit } = process;
let netClose;

/** A process has one set of signal handlers and its threads have none: there is nothing to do in a thread. */
if (isMainThread && !globalThis[LOADED]) {
  Object.defineProperty(globalThis, LOADED, { value: true });
  const { Server } = require('node:net');
  const { listen } = Server.prototype;
  netClose = Server.prototype.close;
  Server.prototype.listen = function (...args) {
    watch(this);
    return listen.apply(this, args);
  };
  // Now, because a handler of a signal that comes earlier than the server would call what stands here then. Not a handler,
  // because one of 'message' would keep the process alive.
  process.emit = function (name, ...args) {
    return intercepts(name, args) || emit.call(this, name, ...args);
  };
}

/** Servers of HTTP/1 have `closeIdleConnections`, those of HTTP/2 `updateSettings`; no other speaks a protocol known here. */
function watch(server) {
  const http1 = typeof server.closeIdleConnections === 'function';
  const http2 = typeof server.updateSettings === 'function';
  if (servers.has(server) || !(http1 || http2)) return;
  if (servers.size === 0) for (const name of SIGNALS) process.on(name, ours);
  const open = new Set();
  servers.set(server, open);
  const encrypted = typeof server.setSecureContext === 'function';
  const event = http2 ? 'session' : encrypted ? 'secureConnection' : 'connection';
  server.on(event, (one) => {
    open.add(one);
    one.once('close', () => {
      open.delete(one);
      if (draining) settle();
    });
    if (draining && http2) one.close();
  });
}

/** True for what is kept from the program for now. */
function intercepts(name, args) {
  if (over || servers.size === 0) return false;
  if (SIGNALS.includes(name)) return keep(() => signal(name, args));
  if (name === 'message' && args[0] === 'shutdown') return keep(() => emit.call(process, name, ...args));
  if (name === 'internalMessage' && args[0]?.cmd === 'NODE_CLUSTER' && args[0].act === 'disconnect') {
    // The cluster closes the servers itself and leaves its channel when that is done.
    begin(false);
  }
  return false;
}

/** Without a handler a signal would end the process before anybody is asked. */
function ours() {}

function keep(pass) {
  const again = kept.length > 0;
  kept.push(pass);
  begin(true);
  if (again) finish();
  else settle();
  return true;
}

/** As if this file were not there: the program's handlers, or what the signal does by itself. */
function signal(name, args) {
  process.removeListener(name, ours);
  if (process.listenerCount(name) > 0) emit.call(process, name, ...args);
  else process.kill(process.pid, name);
}

function begin(closes) {
  for (const [server, open] of servers) {
    if (!draining) prepare(server, open);
    if (closes && server.listening) server.close();
  }
  if (draining) return;
  draining = true;
  // Connections keep the process alive by themselves; without any there is nothing to wait for.
  deadline = setTimeout(finish, DEADLINE_MS).unref();
}

function prepare(server, open) {
  server.close = close;
  if (typeof server.updateSettings === 'function') {
    for (const session of open) session.close();
    return;
  }
  for (const event of ['request', 'checkContinue', 'checkExpectation']) {
    // A listener of the others would change what the server answers by itself.
    if (event === 'request' || server.listenerCount(event) > 0) {
      server.prependListener(event, (request, response) => isLast(response));
    }
  }
  for (const socket of open) {
    if (socket._httpMessage) isLast(socket._httpMessage);
  }
}

/** In place of a server's own: idle connections stay, and a second call is no error, since the first was ours. */
function close(done) {
  if (typeof done === 'function') {
    if (this.listening || servers.get(this)?.size > 0) this.once('close', () => done());
    else process.nextTick(done);
  }
  if (this.listening) netClose.call(this);
  return this;
}

/** The connection ends after this response, also where the program says `keep-alive` itself (proxies copy that header). */
function isLast(response) {
  if (response.headersSent) return;
  response.shouldKeepAlive = false;
  const { writeHead } = response;
  response.writeHead = function (...args) {
    if (this.hasHeader('connection')) this.setHeader('Connection', 'close');
    return writeHead.apply(this, args);
  };
}

/** Connections that speak something else by now (WebSocket) are the program's: they have no parser of HTTP any more. */
function settle() {
  for (const [server, open] of servers) {
    for (const one of open) {
      if (one.parser || typeof server.updateSettings === 'function') return;
    }
  }
  if (kept.length > 0) finish();
  else clearTimeout(deadline);
}

/** All is drained, the time is over, or somebody insists. */
function finish() {
  clearTimeout(deadline);
  for (const server of servers.keys()) server.closeIdleConnections?.();
  if (kept.length === 0) return;
  over = true;
  const passes = kept;
  kept = [];
  for (const pass of passes) pass();
}
