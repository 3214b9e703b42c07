// Two worker processes and a clock, the same for every queue; what differs is how tasks are pushed and run.
const { fork } = require('node:child_process');
const memory = require('./pss.cjs');

const BULK = 1000;

// In a worker: counts done tasks and tells them to the parent, every 5 ms at most. `process.send(0)` says that it is ready.
exports.counter = () => {
  let done = 0;
  let told = 0;
  setInterval(() => { if (done > told) process.send((told = done)); }, 5);
  return () => { done += 1; };
};

// In the parent: `push(n)` pushes so many, `settled()` waits for what is left to do when all have run.
// Prints {"value": tasks a second, "memory": MiB of server and workers, "version"}.
exports.measure = async ({ script, args, tasks, push, settled = async () => {}, version }) => {
  const counts = [0, 0];
  let wanted = Infinity;
  let finished;
  const workers = counts.map((_, n) => {
    const child = fork(script, args);
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
    for (let pushed = 0; pushed < count; pushed += BULK) await push(Math.min(BULK, count - pushed));
    await over;
    await settled();
  }
  await load(BULK);
  const since = process.hrtime.bigint();
  await load(tasks);
  const seconds = Number(process.hrtime.bigint() - since) / 1e9;
  const mib = memory(workers.map((worker) => worker.child.pid));
  console.log(JSON.stringify({ value: tasks / seconds, memory: mib, version }));
  for (const worker of workers) worker.child.kill('SIGKILL');
  process.exit(0);
};
