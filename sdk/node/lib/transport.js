'use strict';
// How messages come and go: Node's own channel (a socket whose number ganger puts into NODE_CHANNEL_FD), or lines on stdin and
// stdout for `protocol = "stdio"`.

const { Console } = require('node:console');
const { StringDecoder } = require('node:string_decoder');
const { ChannelError } = require('./errors');

let one = null;

/** How ganger brings tasks to this process; the same at every call. */
function openTransport() {
  if (one === null) {
    // Said of this process, not of its children.
    const peers = process.env.GANGER_PEERS === 'lines';
    delete process.env.GANGER_PEERS;
    // What comes before worker() is called, which may be after an await.
    one = Object.assign(find(), { peers, early: [] });
  }
  return one;
}

/** The same, if this is a worker of a pool for certain. */
function workersTransport() {
  return process.env.GANGER_PEERS === undefined ? one : openTransport();
}

function find() {
  const told = process.env.GANGER_CHANNEL_FD;
  // Not for children of this process: they have no such descriptor.
  delete process.env.GANGER_CHANNEL_FD;
  if (process.send) return channel();
  if (told !== undefined) {
    throw new ChannelError(
      `ganger gave descriptor ${told} as this worker's channel, but it did not arrive here. A program in between took or closed it ` +
        '(npm, npx, yarn and pnpm do: each is a Node program of its own). ' +
        'Let ganger start node itself: command = ["node", "worker.js"], or use protocol = "stdio".',
    );
  }
  if (process.stdin.isTTY) {
    throw new ChannelError(
      'This worker was not started by ganger: there is no channel, and stdin is a terminal. ' +
        'Put it into ganger.toml as [pool.NAME] command = ["node", "worker.js"] and run `ganger up`.',
    );
  }
  return stdio();
}

function channel() {
  return {
    name: 'channel',
    open(onMessage, onClose) {
      process.on('message', onMessage);
      process.on('disconnect', onClose);
    },
    /** Throws a TypeError when the message is no JSON. */
    send(message, done) {
      if (process.connected) process.send(message, undefined, undefined, done ?? ignore);
      else done?.();
    },
  };
}

/** A failed write shows as a `disconnect` as well, which is where it is handled. */
function ignore() {}

function stdio() {
  const out = process.stdout.write.bind(process.stdout);
  // stdout is the protocol: what the program prints goes to stderr, which ganger logs.
  globalThis.console = new Console(process.stderr, process.stderr);
  const listeners = [];
  const tell = (message) => listeners.forEach((listener) => listener(message));
  return {
    name: 'stdio',
    open(onMessage, onClose) {
      process.stdout.on('error', onClose);
      if (listeners.push(onMessage) > 1) return;
      const decoder = new StringDecoder('utf8');
      let rest = '';
      process.stdin.on('data', (chunk) => {
        const lines = (rest + decoder.write(chunk)).split('\n');
        rest = lines.pop();
        for (const line of lines) {
          if (line.trim() !== '') tell(JSON.parse(line));
        }
      });
      // No more tasks will come; those that came are done, and their answers can still be written.
      process.stdin.on('end', () => tell({ $drain: true }));
    },
    send(message, done) {
      out(`${JSON.stringify(message)}\n`, done);
    },
  };
}

module.exports = { openTransport, workersTransport };
