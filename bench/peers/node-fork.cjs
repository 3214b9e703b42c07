// Node's bare child_process.fork: 200-byte tasks over its IPC channel, 256 in flight, over CHILDREN children.
// Prints {"value": tasks a second}.
const { fork } = require('node:child_process');

if (process.argv[2] === 'child') {
  process.on('message', (task) => process.send({ id: task.id, result: null }));
} else {
  const children = Number(process.argv[2]);
  const tasks = Number(process.argv[3]);
  const inFlight = 256;
  const payload = { text: 'x'.repeat(150) };
  let pushed = 0;
  let done = 0;
  let since;
  const all = Array.from({ length: children }, () => fork(__filename, ['child']));
  const push = (child) => child.send({ id: String(pushed++).padStart(13, '0'), kind: 'noop', payload });
  const start = () => {
    since = process.hrtime.bigint();
    for (let n = 0; n < inFlight; n += 1) push(all[n % children]);
  };
  let ready = 0;
  for (const child of all) {
    child.on('message', (message) => {
      if (message.id === 'warm') {
        ready += 1;
        if (ready === children) start();
        return;
      }
      done += 1;
      if (pushed < tasks) push(child);
      if (done === tasks) {
        const seconds = Number(process.hrtime.bigint() - since) / 1e9;
        console.log(JSON.stringify({ value: tasks / seconds }));
        for (const one of all) one.disconnect();
      }
    });
    child.send({ id: 'warm' });
  }
}
