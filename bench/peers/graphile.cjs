// graphile-worker: 200-byte no-op jobs pushed in bulks of 1,000, two worker processes of 24 jobs at once as in its own
// performance test. `default`: everything else as it comes (one job at once would be the default, and far slower); `fast`: localQueue
// 500 and batched completion. It keeps no results and deletes what is done.
// Prints {"value": tasks a second, "memory": MiB of postgres and workers, "version"}.
const path = require('node:path');
const { fork } = require('node:child_process');
const at = (name) => path.join(process.env.BENCH_MODULES, name);
const { run, makeWorkerUtils, Logger } = require(at('graphile-worker'));
const { Pool } = require(at('pg'));
const memory = require('./pss.cjs');

const connectionString = process.env.BENCH_DATABASE;
const logger = new Logger(() => () => {});

if (process.argv[2] === 'worker') {
  const batches = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  const more = process.argv[3] === 'fast' ? batches : {};
  const worker = { concurrentJobs: 24, maxPoolSize: 24, ...more };
  let done = 0;
  let told = 0;
  run({
    preset: { worker: { connectionString, ...worker } },
    logger,
    noHandleSignals: true,
    taskList: { noop: async () => { done += 1; } },
  }).then(() => process.send(0));
  setInterval(() => { if (done > told) process.send((told = done)); }, 5);
  return;
}

const mode = process.argv[2];
const tasks = Number(process.argv[3]);
const payload = { text: 'x'.repeat(150) };

(async () => {
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  const pool = new Pool({ connectionString });
  const counts = [0, 0];
  let wanted = Infinity;
  let finished;
  const workers = counts.map((_, n) => {
    const child = fork(__filename, ['worker', mode]);
    const ready = new Promise((resolve) => child.once('message', resolve));
    child.on('message', (done) => {
      counts[n] = done;
      if (counts[0] + counts[1] >= wanted) finished();
    });
    return { child, ready };
  });
  await Promise.all(workers.map((worker) => worker.ready));
  let all = 0;
  async function load(count) {
    all += count;
    wanted = all;
    const over = new Promise((resolve) => { finished = resolve; });
    for (let pushed = 0; pushed < count; pushed += 1000) {
      const n = Math.min(1000, count - pushed);
      await utils.addJobs(Array.from({ length: n }, () => ({ identifier: 'noop', payload })));
    }
    await over;
    // The task has run; it is done when its row is gone.
    for (;;) {
      const left = await pool.query('select 1 from graphile_worker._private_jobs limit 1');
      if (left.rowCount === 0) return;
    }
  }
  await load(1000);
  const since = process.hrtime.bigint();
  await load(tasks);
  const seconds = Number(process.hrtime.bigint() - since) / 1e9;
  const { version } = require(at('graphile-worker/package.json'));
  const mib = memory(workers.map((worker) => worker.child.pid));
  console.log(JSON.stringify({ value: tasks / seconds, memory: mib, version: `graphile-worker ${version}` }));
  for (const worker of workers) worker.child.kill('SIGKILL');
  process.exit(0);
})();
