// BullMQ: 200-byte no-op jobs pushed in bulks of 1,000, two worker processes of 100 jobs at once, results kept (its default).
// Prints {"value": tasks a second, "memory": MiB of redis and workers, "version"}.
const path = require('node:path');
const { fork } = require('node:child_process');
const at = (name) => path.join(process.env.BENCH_MODULES, name);
const { Queue, Worker } = require(at('bullmq'));
const memory = require('./pss.cjs');

const connection = { host: '127.0.0.1', port: Number(process.env.BENCH_PORT), maxRetriesPerRequest: null };

if (process.argv[2] === 'worker') {
  let done = 0;
  let told = 0;
  const worker = new Worker('bench', async () => null, { connection, concurrency: 100 });
  worker.on('completed', () => { done += 1; });
  setInterval(() => { if (done > told) process.send((told = done)); }, 5);
  worker.waitUntilReady().then(() => process.send(0));
  return;
}

const tasks = Number(process.argv[2]);
const data = { text: 'x'.repeat(150) };

(async () => {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  const counts = [0, 0];
  let wanted = Infinity;
  let finished;
  const workers = counts.map((_, n) => {
    const child = fork(__filename, ['worker']);
    const ready = new Promise((resolve) => child.once('message', resolve));
    child.on('message', (done) => {
      counts[n] = done;
      if (counts[0] + counts[1] >= wanted) finished();
    });
    return { child, ready };
  });
  await Promise.all(workers.map((worker) => worker.ready));
  let all = 0;
  async function run(count) {
    all += count;
    wanted = all;
    const over = new Promise((resolve) => { finished = resolve; });
    for (let pushed = 0; pushed < count; pushed += 1000) {
      const n = Math.min(1000, count - pushed);
      await queue.addBulk(Array.from({ length: n }, () => ({ name: 'noop', data })));
    }
    await over;
  }
  await run(1000);
  const since = process.hrtime.bigint();
  await run(tasks);
  const seconds = Number(process.hrtime.bigint() - since) / 1e9;
  const { version } = require(at('bullmq/package.json'));
  const mib = memory(workers.map((worker) => worker.child.pid));
  console.log(JSON.stringify({ value: tasks / seconds, memory: mib, version: `BullMQ ${version}` }));
  for (const worker of workers) worker.child.kill('SIGKILL');
  process.exit(0);
})();
