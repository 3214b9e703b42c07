'use strict';
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { readFileSync } = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const readme = path.join(__dirname, '..', 'README.md');

test('the sh worker of the README works', () => {
  const script = readFileSync(readme, 'utf8').match(/```sh\n(#!\/bin\/sh[\s\S]*?)```/)[1];
  assert.ok(script.split('\n').length <= 30);
  const task = (id, file) => JSON.stringify({ id, kind: '', payload: { file }, attempt: 1, queue: 'q', token: '1.1' });
  const input = [task('a', readme), '{"$ack":1}', task('b', '/none'), '{"$drain":true}', task('c', readme)];
  const done = spawnSync('sh', ['-c', script], { input: `${input.join('\n')}\n`, encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
  const [a, b, ...rest] = done.stdout.trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(a.id, 'a');
  assert.ok(a.result.words > 100);
  assert.deepEqual(b, { id: 'b', error: { message: 'can not read /none' } });
  assert.deepEqual(rest, []);
});
