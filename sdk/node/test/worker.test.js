'use strict';
const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const readline = require('node:readline');
const { test } = require('node:test');

const { Parent } = require('../fixtures/parent');
const { version } = require('../package.json');

const script = (name) => path.join(__dirname, '../fixtures/workers', name);

async function started(file = 'kinds.js', env = {}) {
  const parent = new Parent(file, env);
  const { $hello } = await parent.next();
  assert.deepEqual($hello, { sdk: 'node', version, concurrency: Number(env.CONCURRENCY ?? 1), batch: true, ping: true });
  return parent;
}

test('results of every shape come back, and the process ends well when the channel closes', async () => {
  const parent = await started();
  const payload = { a: [1, null, 'é\n\ud83d\ude00'] };
  assert.deepEqual(await parent.ask('echo', payload), { id: 'id-echo', result: payload });
  assert.deepEqual(await parent.ask('nothing'), { id: 'id-nothing', result: null });
  assert.deepEqual((await parent.ask('later', 7)).result, { payload: 7, attempt: 1, queue: 'q', token: '1.1' });
  // Its own children must not think that they have a channel.
  assert.equal((await parent.ask('prints')).result, 'unset');
  assert.deepEqual(await parent.ask('progress'), { id: 'id-progress', token: '1.1', progress: { done: 0.5 } });
  assert.deepEqual(await parent.next(), { id: 'id-progress', result: 1 });
  assert.equal(await parent.end(), 0);
});

test('words of others come over the channel that brings the tasks', async (t) => {
  const parent = new Parent('peer.js', { GANGER_PEERS: 'lines' });
  t.after(() => parent.child.kill('SIGKILL'));
  const subscribe = { $g: 'subscribe', topic: 't.*', window: 4 };
  assert.deepEqual(await parent.next(), subscribe);
  assert.equal((await parent.next()).$hello.sdk, 'node');
  // A task waits for another service's answer; meanwhile it is asked itself.
  parent.send(parent.task('1', 'ask', { w: 3 }));
  const { id, ...asked } = await parent.next();
  assert.deepEqual(asked, { $g: 'request', to: 'images', kind: 'resize', timeout_ms: 30_000, payload: { w: 3 } });
  parent.send({ $g: 'request', id: '7.1', from: 'web#1', kind: 'add', payload: [1, 2] });
  assert.deepEqual(await parent.next(), { $g: 'response', id: '7.1', result: ['web#1', 3] });
  parent.send({ $g: 'request', id: '7.2', from: 'web#1', kind: 'bytes' });
  assert.match((await parent.next()).error.message, /no bytes/);
  parent.send({ $g: 'message', topic: 't.1', pattern: 't.*', from: 'web#1', payload: 4 });
  assert.deepEqual(await parent.next(), { $g: 'publish', topic: 'heard', payload: ['t.1', 4] });
  parent.send({ $sync: { n: 9 } });
  assert.deepEqual(await parent.next(), subscribe);
  assert.deepEqual(await parent.next(), { $g: 'open', ids: [id] });
  assert.deepEqual((await parent.next()).$sync, { n: 9, running: ['1'], done: [] });
  parent.send({ $g: 'response', id, result: 'small' });
  assert.deepEqual(await parent.next(), { id: '1', result: 'small' });
  assert.equal(await parent.end(), 0);
});

test('what is small for certain is not written to be measured', () => {
  const { isSmall } = require('../lib/sizes');
  const circle = {};
  circle.self = circle;
  for (const small of [null, undefined, 1, 'text', [1, [2]], { a: { b: 'c' } }, Object.create(null)]) assert.ok(isSmall(small));
  for (const unknown of ['x'.repeat(1 << 18), circle, Array(5_000).fill(0), Array(5_000), new Date(), Buffer.alloc(1), { toJSON: () => 'x' }, 1n, () => 1]) {
    assert.ok(!isSmall(unknown));
  }
});

test('progress and log lines carry the token, the newest progress of a turn counts, and nothing comes after the answer', async () => {
  const parent = await started();
  const said = { id: 'id-words', token: '1.1' };
  assert.deepEqual(await parent.ask('words'), { ...said, log: 'first { n: 1 }' });
  assert.deepEqual(await parent.next(), { ...said, progress: 20 });
  assert.deepEqual(await parent.next(), { ...said, log: 'second' });
  assert.deepEqual(await parent.next(), { id: 'id-words', result: 1 });
  assert.deepEqual(await parent.ask('echo', 2), { id: 'id-echo', result: 2 });
  parent.send(parent.task('f', 'flood', 100_000));
  let heard = 0;
  for (let message = await parent.next(); message.result === undefined; message = await parent.next()) heard += 1;
  assert.ok(heard < 1000, `${heard} messages for 100,000 calls`);
  assert.equal(await parent.end(), 0);
});

test('a handler that holds the thread is heard, and so are the lines before a crash', async () => {
  const busy = await started();
  assert.deepEqual(await busy.ask('busy'), { id: 'id-busy', token: '1.1', progress: 1 });
  assert.deepEqual(await busy.next(), { id: 'id-busy', token: '1.1', progress: 2 });
  busy.child.kill('SIGKILL');
  await busy.exit;
  const parent = await started();
  assert.equal((await parent.ask('crash')).log, 'a');
  assert.equal((await parent.next()).log, 'b\nc');
  assert.deepEqual((await parent.exit)[1], 'SIGABRT');
});

test('errors tell class, message, stack and whether to try again', async () => {
  const parent = await started();
  const { error } = await parent.ask('throws');
  assert.equal(error.message, 'boom');
  assert.equal(error.class, 'TypeError');
  assert.match(error.stack, /kinds\.js[\s\S]*caused by: Error: deep/);
  assert.equal(error.retryable, undefined);
  assert.deepEqual((await parent.ask('throwsText')).error, { message: 'plain' });
  assert.equal((await parent.ask('never')).error.retryable, false);
  assert.equal((await parent.ask('notNow')).error.retry_after_s, 2.5);
  const unknown = (await parent.ask('what')).error;
  assert.match(unknown.message, /no handler for kind "what"; it has: echo, nothing/);
  assert.equal(unknown.retryable, false);
  await parent.end();
});

test('a result that is no JSON fails its own task only', async () => {
  const parent = await started();
  parent.send(['echo', 'bigint', 'circle', 'fn', 'later'].map((kind) => parent.task(kind, kind, 1)));
  const answers = {};
  for (let n = 0; n < 5; n += 1) {
    const answer = await parent.next();
    answers[answer.id] = answer;
  }
  assert.equal(answers.echo.result, 1);
  assert.equal(answers.later.result.payload, 1);
  for (const id of ['bigint', 'circle', 'fn']) {
    assert.match(answers[id].error.message, /can't be written as JSON/, id);
    assert.equal(answers[id].error.retryable, false);
  }
  await parent.end();
});

test('arrays go both ways, in order', async () => {
  const parent = await started('single.js');
  const N = 20_000;
  const CHUNK = 250;
  for (let at = 0; at < N; at += CHUNK) {
    parent.send(Array.from({ length: CHUNK }, (_, n) => parent.task(`t${at + n}`, 'k', at + n)));
  }
  for (let n = 0; n < N; n += 1) {
    assert.deepEqual(await parent.next(), { id: `t${n}`, result: `k:${n}` });
  }
  assert.ok(parent.lines.length < N / 10, `${parent.lines.length} lines for ${N} answers`);
  await parent.end();
});

test('$sync tells what is running, waiting and not acknowledged; $ack forgets', async () => {
  const parent = await started('kinds.js', { CONCURRENCY: 2 });
  for (const n of [1, 2, 3]) parent.send(parent.task(`done${n}`, 'echo', n));
  let answers = 0;
  while (answers < 3) answers += (await parent.next()).result === undefined ? 0 : 1;
  parent.send({ $ack: 1 });
  parent.send(['a', 'b', 'c'].map((id) => parent.task(id, 'untilCancelled')));
  assert.deepEqual(await parent.next(), { id: 'a', started: true });
  assert.deepEqual(await parent.next(), { id: 'b', started: true });
  parent.send({ $sync: { n: 9 } });
  assert.deepEqual(await parent.next(), {
    $sync: { n: 9, running: ['a', 'b', 'c'], done: [{ id: 'done2', result: 2 }, { id: 'done3', result: 3 }] },
  });
  // The new session counts from its own start.
  parent.send([{ $ack: 2 }, { $sync: { n: 10 } }]);
  assert.deepEqual((await parent.next()).$sync.done, []);
  parent.send([{ $cancel: 'c' }, { $cancel: 'a' }]);
  const first = await parent.next();
  assert.deepEqual([first.id, first.error.class], ['c', 'Cancelled']);
  const second = await parent.next();
  assert.deepEqual([second.id, second.error.class], ['a', 'AbortError']);
  // `b` notices by its signal that nobody is there any more.
  assert.equal(await parent.end(), 0);
});

test('$ping is answered between two tasks', async () => {
  const parent = await started();
  parent.send([{ $ping: 7 }, parent.task('x', 'later', 1), { $ping: 8 }]);
  assert.deepEqual(await parent.next(), { $pong: 7 });
  assert.deepEqual(await parent.next(), { $pong: 8 });
  assert.equal((await parent.next()).id, 'x');
  assert.equal(await parent.end(), 0);
});

test('$drain ends the process when its tasks are done', async () => {
  const parent = await started();
  parent.send([parent.task('x', 'later', 1), parent.task('y', 'echo', 2), { $drain: true }]);
  assert.equal((await parent.next()).id, 'x');
  assert.equal((await parent.next()).id, 'y');
  assert.deepEqual(await parent.exit, [0, null]);
});

test('a handler that holds the thread does not hold back the answers before it', async () => {
  const parent = new Parent('slow.js');
  await parent.next();
  parent.send([1, 2, 3].map((n) => parent.task(`s${n}`, 'spin', n)));
  for (const n of [1, 2, 3]) {
    const { id, result } = await parent.next();
    assert.equal(id, `s${n}`);
    // It saw that the answers before were written already.
    assert.equal(result, n - 1);
  }
  await parent.end();
});

test('stdio works, and printing does not disturb it', async () => {
  const env = { ...process.env };
  delete env.GANGER_CHANNEL_FD;
  const child = spawn(process.execPath, [script('kinds.js')], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value);
  assert.equal((await next()).$hello.sdk, 'node');
  child.stdin.write('{"id":"a","kind":"prints","payload":"é"}\n[{"id":"b","kind":"echo","payload":"');
  assert.deepEqual(await next(), { id: 'a', result: 'unset' });
  child.stdin.write('é"}]\n');
  assert.deepEqual(await next(), { id: 'b', result: 'é' });
  const exit = once(child, 'exit');
  const printed = readline.createInterface({ input: child.stderr })[Symbol.asyncIterator]();
  assert.equal((await printed.next()).value, 'a log line');
  child.stdin.end('{"id":"c","kind":"later","payload":1}\n{"id":"cut');
  assert.equal((await next()).id, 'c');
  assert.deepEqual(await exit, [0, null]);
});

test('a channel that npm took is named, with the way out', () => {
  const env = { ...process.env, GANGER_CHANNEL_FD: '3' };
  const { status, stderr } = spawnSync(process.execPath, [script('single.js')], { env, encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /descriptor 3 .* did not arrive.*\(npm, npx, .*command = \["node", "worker\.js"\]/s);
});

test('wrong handlers are refused at once', () => {
  const { worker } = require('..');
  process.send ??= () => {};
  assert.throws(() => worker({}), /needs a function/);
  assert.throws(() => worker({ a: 1 }), /kind "a" is not a function/);
  assert.throws(() => worker(() => {}, { concurrency: 0 }), /concurrency/);
});
