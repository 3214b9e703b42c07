// What PM2 does: pidusage of all pids, each second. Arguments: the module's folder, seconds, pids on stdin.
const pidusage = require(process.argv[2]);
const seconds = Number(process.argv[3]);
const pids = require("node:fs").readFileSync(0, "utf8").trim().split(/\s+/).map(Number);
(async () => {
  const [begun, used] = [performance.now(), process.cpuUsage()];
  for (let ticks = 1; performance.now() - begun < seconds * 1000; ticks++) {
    await pidusage(pids);
    await new Promise((done) => setTimeout(done, Math.max(0, begun + ticks * 1000 - performance.now())));
  }
  const window = performance.now() - begun;
  const { user, system } = process.cpuUsage(used);
  console.log(pids.length, (user + system) / 1000 / window);
})();
