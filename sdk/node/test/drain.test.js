'use strict';
const assert = require('node:assert/strict');
const { spawn, fork } = require('node:child_process');
const cluster = require('node:cluster');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const readline = require('node:readline');
const { after, test } = require('node:test');

const served = path.join(__dirname, '../fixtures/served.js');
const preload = path.join(__dirname, '../drain.js');
const env = (more) => ({ ...process.env, NODE_OPTIONS: `--require "${preload}"`, ...more });

/** A process with the preload, its lines and its end. */
class Program {
  constructor(child) {
    this.child = child;
    this.lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.exit = once(child, 'exit');
    after(() => child.kill('SIGKILL'));
  }

  static server(args = [], more = {}) {
    return new Program(spawn(process.execPath, [served, ...args], { env: env(more), stdio: ['ignore', 'pipe', 'inherit'] }));
  }

  async line() {
    return (await this.lines.next()).value;
  }
}

/** A connection that is kept alive: requests by hand, answers as text. */
class Connection {
  static async to(port) {
    const one = new Connection();
    one.socket = net.connect(Number(port), '127.0.0.1');
    one.text = '';
    one.socket.setEncoding('utf8').on('data', (text) => {
      one.text += text;
      one.socket.emit('more');
    });
    one.closed = new Promise((resolve) => { one.socket.once('close', resolve); });
    await once(one.socket, 'connect');
    return one;
  }

  send(url, header = '') {
    this.socket.write(`GET ${url} HTTP/1.1\r\nHost: x\r\n${header}\r\n`);
  }

  /** The next answer, whose body ends with `end`. */
  async answer(end) {
    while (!this.text.endsWith(end)) await once(this.socket, 'more');
    const { text } = this;
    this.text = '';
    return text;
  }

  async ask(url) {
    this.send(url);
    return this.answer(url);
  }
}

test('idle connections get an answer that ends them, then the signal ends the process', async () => {
  const program = Program.server();
  const port = await program.line();
  const [idle, busy, keep] = await Promise.all([Connection.to(port), Connection.to(port), Connection.to(port)]);
  assert.match(await idle.ask('/a'), /^Connection: keep-alive\r$/m);
  await keep.ask('/keep');
  busy.send('/slow');
  await (await Connection.to(port)).ask('/a');
  program.child.kill('SIGTERM');
  assert.equal(await program.line(), 'draining');
  await assert.rejects(Connection.to(port), { code: 'ECONNREFUSED' });
  // It was idle when the signal came. Asking wakes the slow one too.
  assert.match(await idle.ask('/go'), /^Connection: close\r$/m);
  assert.match(await busy.answer('slow'), /^Connection: close\r$/m);
  assert.match(await keep.ask('/keep'), /^Connection: close\r$/m);
  await Promise.all([idle.closed, busy.closed, keep.closed]);
});

test('the process dies of the signal when the last connection is gone, whatever was upgraded', async () => {
  const program = Program.server();
  const port = await program.line();
  const [idle, socket] = await Promise.all([Connection.to(port), Connection.to(port)]);
  await idle.ask('/a');
  socket.send('/', 'Connection: Upgrade\r\nUpgrade: websocket\r\n');
  await socket.answer('\r\n\r\n');
  program.child.kill('SIGTERM');
  assert.equal(await program.line(), 'draining');
  await idle.ask('/b');
  assert.deepEqual(await program.exit, [null, 'SIGTERM']);
});

test('a handler of the program runs afterwards, and its close() is no error', async () => {
  const program = Program.server(['handler']);
  const port = await program.line();
  const idle = await Connection.to(port);
  await idle.ask('/a');
  program.child.kill('SIGTERM');
  assert.equal(await program.line(), 'draining');
  assert.match(await idle.ask('/b'), /^Connection: close\r$/m);
  assert.equal(await program.line(), 'told');
  assert.deepEqual(await program.exit, [3, null]);
});

test('at the deadline, or at a second signal, it is over', async () => {
  const late = Program.server([], { GANGER_DRAIN_MS: '50' });
  await (await Connection.to(await late.line())).ask('/a');
  late.child.kill('SIGTERM');
  assert.deepEqual(await late.exit, [null, 'SIGTERM']);

  const insisted = Program.server([], { GANGER_DRAIN_SIGNAL: 'SIGINT', GANGER_DRAIN_MS: '600000' });
  const port = await insisted.line();
  await (await Connection.to(port)).ask('/a');
  insisted.child.kill('SIGINT');
  assert.equal(await insisted.line(), 'draining');
  insisted.child.kill('SIGINT');
  assert.deepEqual(await insisted.exit, [null, 'SIGINT']);
});

test("PM2's shutdown message waits too, and keeps no process alive", async () => {
  const child = fork(served, ['message'], { env: env({ pm_id: '0' }), stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  const program = new Program(child);
  const port = await program.line();
  const idle = await Connection.to(port);
  await idle.ask('/a');
  child.send('shutdown');
  assert.equal(await program.line(), 'draining');
  assert.match(await idle.ask('/b'), /^Connection: close\r$/m);
  assert.deepEqual(await program.exit, [4, null]);
});

test('a worker of a cluster that is disconnected drains, and leaves its channel when it has', async () => {
  cluster.setupPrimary({ exec: served, args: [], silent: true });
  const worker = cluster.fork(env());
  const program = new Program(worker.process);
  const port = await program.line();
  const idle = await Connection.to(port);
  await idle.ask('/a');
  const left = once(worker, 'disconnect');
  worker.disconnect();
  assert.equal(await program.line(), 'draining');
  assert.ok(worker.isConnected());
  assert.match(await idle.ask('/b'), /^Connection: close\r$/m);
  await left;
  assert.deepEqual(await program.exit, [0, null]);
});

test('a worker of a cluster that nobody talks to leaves at once', async () => {
  cluster.setupPrimary({ exec: served, args: [], silent: true });
  const worker = cluster.fork(env({ GANGER_DRAIN_MS: '600000' }));
  const program = new Program(worker.process);
  await program.line();
  worker.disconnect();
  assert.equal(await program.line(), 'draining');
  assert.deepEqual(await program.exit, [0, null]);
});

test('programs that serve nothing, and threads, are as they were', async () => {
  const run = async (source) => {
    const program = new Program(spawn(process.execPath, ['-e', source], { env: env(), stdio: ['ignore', 'pipe', 'inherit'] }));
    return [await program.line(), program];
  };
  const [count, sleeper] = await run("console.log(process.listenerCount('SIGTERM')); setInterval(() => {}, 1e6)");
  assert.equal(count, '0');
  sleeper.child.kill('SIGTERM');
  assert.deepEqual(await sleeper.exit, [null, 'SIGTERM']);
  const [said, thread] = await run(
    "new (require('node:worker_threads').Worker)(\"require('http').createServer().listen(0, function () { this.close(); console.log('in a thread') })\", { eval: true })",
  );
  assert.equal(said, 'in a thread');
  assert.deepEqual(await thread.exit, [0, null]);
});
