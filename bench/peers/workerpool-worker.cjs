const path = require('node:path');
const workerpool = require(path.join(process.env.BENCH_MODULES, 'workerpool'));

workerpool.worker({ noop: () => null });
