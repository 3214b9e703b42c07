// MiB that processes have for themselves, shared pages divided among those who share them (proc(5), smaps_rollup).
const fs = require('node:fs');

function pss(pid) {
  try {
    const text = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return Number(/^Pss:\s+(\d+) kB/m.exec(text)[1]) / 1024;
  } catch {
    return 0;
  }
}

/** The process and all below it. */
function tree(pid) {
  let below = [];
  try {
    below = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  } catch {
    return [];
  }
  return [pid, ...below.flatMap((child) => tree(Number(child)))];
}

/** Of the server (BENCH_SERVER) with all its processes, and of `workers` with theirs. */
module.exports = (workers) => {
  const pids = [Number(process.env.BENCH_SERVER), ...workers].flatMap(tree);
  return pids.reduce((sum, pid) => sum + pss(pid), 0);
};
