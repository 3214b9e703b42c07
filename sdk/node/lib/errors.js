'use strict';

/** Another attempt would fail as well. */
class NonRetryableError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = 'NonRetryableError';
    this.retryable = false;
  }
}

/** Try again, but not before so many seconds. */
class RetryAfterError extends Error {
  constructor(message, seconds, options) {
    super(message, options);
    this.name = 'RetryAfterError';
    if (!(seconds >= 0)) throw new RangeError(`RetryAfterError needs seconds ≥ 0, not ${seconds}`);
    this.seconds = seconds;
  }
}

/** Why a task's signal was aborted. */
class Cancelled extends Error {
  constructor(message) {
    super(message);
    this.name = 'Cancelled';
  }
}

/** ganger can't be reached from this process. */
class ChannelError extends Error {
  constructor(message) {
    super(message);
    this.name = 'ChannelError';
  }
}

/** A request without a result: `code` says why ('error': the other side's own error, in `remote`). */
class RequestError extends Error {
  constructor(code, message, remote) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
    if (remote !== undefined) this.remote = remote;
  }
}

/** What is told of something thrown, whatever it is. */
function describe(thrown) {
  if (!(thrown instanceof Error)) {
    let message;
    try {
      message = typeof thrown === 'string' ? thrown : JSON.stringify(thrown) ?? String(thrown);
    } catch {
      message = Object.prototype.toString.call(thrown);
    }
    return { message };
  }
  const error = { message: String(thrown.message), class: thrown.name || thrown.constructor?.name || 'Error' };
  if (typeof thrown.stack === 'string') {
    error.stack = thrown.cause === undefined ? thrown.stack : `${thrown.stack}\ncaused by: ${thrown.cause?.stack ?? thrown.cause}`;
  }
  if (thrown.retryable === false) error.retryable = false;
  if (thrown instanceof RetryAfterError) error.retry_after_s = thrown.seconds;
  return error;
}

module.exports = { Cancelled, ChannelError, NonRetryableError, RequestError, RetryAfterError, describe };
