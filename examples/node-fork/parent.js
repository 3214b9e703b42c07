// What the script was written for: a parent that forks it and sends it numbers.
const { fork } = require('node:child_process');

const child = fork(`${__dirname}/worker.js`);
child.on('message', ({ factors }) => {
  console.log(JSON.stringify(factors));
  child.disconnect();
});
child.send(Number(process.argv[2]));
