// BullMQ: 200-byte no-op jobs pushed in bulks of 1,000, two worker processes of 100 jobs at once, results kept (its default).
const path = require('node:path');
const at = (name) => path.join(process.env.BENCH_MODULES, name);
const { Queue, Worker } = require(at('bullmq'));
const crew = require('./crew.cjs');

const connection = { host: '127.0.0.1', port: Number(process.env.BENCH_PORT), maxRetriesPerRequest: null };

if (process.argv[2] === 'worker') {
  const worker = new Worker('bench', async () => null, { connection, concurrency: 100 });
  worker.on('completed', crew.counter());
  worker.waitUntilReady().then(() => process.send(0));
  return;
}

const data = { text: 'x'.repeat(150) };

(async () => {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  await crew.measure({
    script: __filename,
    args: ['worker'],
    tasks: Number(process.argv[2]),
    push: (n) => queue.addBulk(Array.from({ length: n }, () => ({ name: 'noop', data }))),
    version: `BullMQ ${require(at('bullmq/package.json')).version}`,
  });
})();
