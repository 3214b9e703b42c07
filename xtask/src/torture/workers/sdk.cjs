// A worker with ganger's Node SDK: notes in the ledger, a pause, a square.
const fs = require('fs');
const path = require('path');
const { worker } = require(path.join(process.env.SDK, 'node'));

const ledger = fs.openSync(process.env.LEDGER, 'a');
const note = (what, n) => fs.writeSync(ledger, `${what} ${n} ${process.pid} ${process.hrtime.bigint()}\n`);

worker(async ({ n, ms }) => {
  note('S', n);
  await new Promise((done) => setTimeout(done, ms));
  note('E', n);
  return { n, square: n * n };
});
