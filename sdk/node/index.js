'use strict';
// ganger for Node: one call that makes this process a worker.

const { Worker } = require('./lib/worker');
const { openTransport } = require('./lib/transport');
const { Cancelled, ChannelError, NonRetryableError, RetryAfterError } = require('./lib/errors');

/** Makes this process a worker. See index.d.ts for the types and README.md for the words. */
function worker(handlers, options = {}) {
  new Worker(openTransport(), handlers, options).start();
}

module.exports = { worker, Cancelled, ChannelError, NonRetryableError, RetryAfterError };
