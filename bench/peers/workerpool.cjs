// npm workerpool, process mode: 200-byte tasks, 256 in flight, two workers. Prints {"value": tasks a second}.
const path = require('node:path');
const workerpool = require(path.join(process.env.BENCH_MODULES, 'workerpool'));

const tasks = Number(process.argv[2]);
const inFlight = 256;
const payload = { text: 'x'.repeat(150) };
const pool = workerpool.pool(path.join(__dirname, 'workerpool-worker.cjs'), {
  workerType: 'process',
  minWorkers: 2,
  maxWorkers: 2,
});

async function run(count) {
  let pushed = 0;
  const lane = async () => {
    while (pushed < count) {
      pushed += 1;
      await pool.exec('noop', [payload]);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

(async () => {
  await run(inFlight);
  const since = process.hrtime.bigint();
  await run(tasks);
  const seconds = Number(process.hrtime.bigint() - since) / 1e9;
  console.log(JSON.stringify({ value: tasks / seconds }));
  await pool.terminate();
})();
