'use strict';
const { setTimeout: sleep } = require('node:timers/promises');
const { channel } = require(`${process.env.SDK}/node`);

const ch = channel();
let heard = 0;
let missed = 0;

const reading = async (n, { topic }) => {
  if (topic !== 'readings.end') {
    heard += 1;
    if (heard % 50 === 0) await sleep(20);
    return;
  }
  console.log(`of ${n} readings ${heard} came and ${missed} were dropped for this slow subscriber`);
  ch.publish('slow.report', { published: n, heard, missed });
};
ch.subscribe('readings.*', reading, { window: 8, onGap: (n) => { missed += n ?? 0; } });
ch.ready();
