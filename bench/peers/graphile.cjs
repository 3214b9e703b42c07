// graphile-worker: 200-byte no-op jobs pushed in bulks of 1,000, two worker processes of 24 jobs at once as in its own
// performance test. `default`: everything else as it comes (one job at once would be the default, and far slower); `fast`: localQueue
// 500 and batched completion. It keeps no results and deletes what is done.
const path = require('node:path');
const at = (name) => path.join(process.env.BENCH_MODULES, name);
const { run, makeWorkerUtils, Logger } = require(at('graphile-worker'));
const { Pool } = require(at('pg'));
const crew = require('./crew.cjs');

const connectionString = process.env.BENCH_DATABASE;
const logger = new Logger(() => () => {});

if (process.argv[2] === 'worker') {
  const batches = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  const more = process.argv[3] === 'fast' ? batches : {};
  const worker = { concurrentJobs: 24, maxPoolSize: 24, ...more };
  const done = crew.counter();
  run({
    preset: { worker: { connectionString, ...worker } },
    logger,
    noHandleSignals: true,
    taskList: { noop: async () => done() },
  }).then(() => process.send(0));
  return;
}

const payload = { text: 'x'.repeat(150) };

(async () => {
  const utils = await makeWorkerUtils({ connectionString, logger });
  await utils.migrate();
  const pool = new Pool({ connectionString });
  await crew.measure({
    script: __filename,
    args: ['worker', process.argv[2]],
    tasks: Number(process.argv[3]),
    push: (n) => utils.addJobs(Array.from({ length: n }, () => ({ identifier: 'noop', payload }))),
    settled: async () => {
      // The task has run; it is done when its row is gone.
      for (;;) {
        const left = await pool.query('select 1 from graphile_worker._private_jobs limit 1');
        if (left.rowCount === 0) return;
      }
    },
    version: `graphile-worker ${require(at('graphile-worker/package.json')).version}`,
  });
})();
