'use strict';
// ganger for Node: one call that makes this process a worker, one that gives a service its channel.

const { Worker } = require('./lib/worker');
const { channel } = require('./lib/channel');
const { openTransport } = require('./lib/transport');
const { Cancelled, ChannelError, NonRetryableError, RequestError, RetryAfterError } = require('./lib/errors');

/** Makes this process a worker. See index.d.ts for the types and README.md for the words. */
function worker(handlers, options = {}) {
  new Worker(openTransport(), handlers, options).start();
}

module.exports = { worker, channel, Cancelled, ChannelError, NonRetryableError, RequestError, RetryAfterError };
