'use strict';
const assert = require('node:assert/strict');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

class Ganger {
  constructor() {
    this.child = fork(path.join(__dirname, '../fixtures/channel.js'));
    this.heard = [];
    this.wanted = [];
    this.child.on('message', (message) => {
      const want = this.wanted.shift();
      if (want) want(message);
      else this.heard.push(message);
    });
  }

  send(words, handle) {
    this.child.send(words, handle);
  }

  async next() {
    return this.heard.length > 0 ? this.heard.shift() : new Promise((resolve) => this.wanted.push(resolve));
  }

  ask(kind, payload, more = {}) {
    this.send({ $g: 'request', id: '7.1', from: 'web#1', kind, payload, ...more });
    return this.next();
  }
}

async function started(t) {
  const ganger = new Ganger();
  t.after(() => ganger.child.kill('SIGKILL'));
  assert.equal((await ganger.next()).$hello.bodies, 'path');
  assert.deepEqual(await ganger.next(), { $g: 'subscribe', topic: 't.*', window: 4 });
  assert.equal(await ganger.next(), 'ready');
  return ganger;
}

test('requests are answered, and called off', async (t) => {
  const ganger = await started(t);
  assert.deepEqual(await ganger.ask('add', [1, 2]), { $g: 'response', id: '7.1', result: ['web#1', 3] });
  assert.equal((await ganger.ask('fail')).error.class, 'TypeError');
  assert.match((await ganger.ask('other')).error.message, /no handler/);
  ganger.send({ $g: 'request', id: '7.2', from: 'api', kind: 'wait' });
  ganger.send({ $g: 'cancel', id: '7.2', why: 'deadline' });
  assert.deepEqual(await ganger.next(), { $g: 'response', id: '7.2', result: 'deadline' });
});

test('it asks others, calls off, and tells a next daemon what is open', async (t) => {
  const ganger = await started(t);
  const { id, ...asked } = await ganger.ask('ask', { n: 1 });
  assert.deepEqual(asked, { $g: 'request', to: 'other', kind: 'k', timeout_ms: 30_000, payload: { n: 1 } });
  ganger.send({ $g: 'response', id, code: 'gone', error: { message: 'it ended' } });
  assert.deepEqual((await ganger.next()).result, ['gone', 'it ended']);
  const off = await ganger.ask('call off');
  assert.deepEqual(await ganger.next(), { $g: 'cancel', id: off.id });
  assert.equal((await ganger.next()).result, 'AbortError');
  const open = await ganger.ask('ask', 1);
  ganger.send({ $sync: { n: 8 } });
  assert.ok((await ganger.next()).$hello);
  assert.deepEqual(await ganger.next(), { $g: 'subscribe', topic: 't.*', window: 4 });
  assert.deepEqual(await ganger.next(), { $g: 'open', ids: [open.id] });
  assert.deepEqual(await ganger.next(), { $g: 'publish', topic: 'gap', payload: null });
});

test('topics are heard in order, taken, and gaps are told', async (t) => {
  const ganger = await started(t);
  for (const n of [1, 2]) ganger.send({ $g: 'message', topic: 't.a', pattern: 't.*', from: 'x#1', payload: n });
  for (const n of [1, 2]) assert.deepEqual(await ganger.next(), { $g: 'publish', topic: 'heard', payload: ['t.a', n] });
  assert.deepEqual(await ganger.next(), { $g: 'took', topic: 't.*', n: 2 });
  ganger.send({ $g: 'gap', topic: 't.*', missed: 5 });
  assert.deepEqual(await ganger.next(), { $g: 'publish', topic: 'gap', payload: 5 });
});

test('a next daemon is told the whole window, whatever waits here', async (t) => {
  const ganger = await started(t);
  await ganger.ask('hold', true);
  for (const n of [1, 2, 3, 4]) ganger.send({ $g: 'message', topic: 't.a', pattern: 't.*', from: 'x#1', payload: n });
  ganger.send({ $sync: { n: 8 } });
  assert.ok((await ganger.next()).$hello);
  assert.deepEqual(await ganger.next(), { $g: 'subscribe', topic: 't.*', window: 4 });
});

test('a body that nobody wants is given back', async (t) => {
  const ganger = await started(t);
  const body = { path: '/proc/1/fd/9', size: 1, is: 'payload' };
  ganger.send({ $g: 'message', topic: 'elsewhere', from: 'x#1', body });
  assert.deepEqual(await ganger.next(), { $g: 'opened', fd: 9 });
  ganger.send({ $g: 'response', id: 77, body });
  assert.deepEqual(await ganger.next(), { $g: 'opened', fd: 9 });
  assert.deepEqual(await ganger.ask('other', undefined, { body }), { $g: 'opened', fd: 9 });
  assert.match((await ganger.next()).error.message, /no handler/);
});

test('bodies are opened by path, and lent as files without a name', async (t) => {
  const ganger = await started(t);
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'ganger-')), 'body');
  t.after(() => fs.rmSync(path.dirname(file), { recursive: true }));
  fs.writeFileSync(file, '"1234567"');
  const fd = fs.openSync(file);
  t.after(() => fs.closeSync(fd));
  const lent = `/proc/${process.pid}/fd/${fd}`;
  for (const [is, sizes] of [['bytes', [0, 9]], ['payload', [7, 0]]]) {
    const opened = await ganger.ask('size', undefined, { body: { size: 9, is, path: lent } });
    assert.deepEqual(opened, { $g: 'opened', fd });
    assert.deepEqual((await ganger.next()).result, sizes);
  }
  const large = await ganger.ask('large', 2_000_000);
  assert.deepEqual({ ...large.body, fd: 0 }, { size: 2_000_002, is: 'payload', fd: 0 });
  const memory = `/proc/${ganger.child.pid}/fd/${large.body.fd}`;
  assert.equal(JSON.parse(fs.readFileSync(memory, 'utf8')).length, 2_000_000);
  assert.match(fs.readlinkSync(memory), /\(deleted\)$/);
  ganger.send({ $g: 'copied', fd: large.body.fd });
  assert.ok((await ganger.ask('add', [1])).result);
  assert.throws(() => fs.readlinkSync(memory), { code: 'ENOENT' });
});

test('a socket is taken', async (t) => {
  const ganger = await started(t);
  const server = net.createServer((socket) => {
    ganger.send({ $g: 'request', id: '7.1', from: 'x#1', kind: 'take', payload: 'hello' }, socket);
  });
  await once(server.listen(0), 'listening');
  t.after(() => server.close());
  const [text] = await once(net.connect(server.address().port), 'data');
  assert.equal(String(text), 'hello');
  assert.equal((await ganger.next()).result, 'took');
});
