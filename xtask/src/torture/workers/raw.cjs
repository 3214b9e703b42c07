// A plain child_process.fork script that knows nothing of ganger: a message in, a message out.
const fs = require('fs');
const ledger = fs.openSync(process.env.LEDGER, 'a');
const note = (what, n) => fs.writeSync(ledger, `${what} ${n} ${process.pid} ${process.hrtime.bigint()}\n`);

process.on('message', ({ n, ms }) => {
  note('S', n);
  setTimeout(() => {
    note('E', n);
    process.send({ n, square: n * n });
  }, ms);
});
