// What small scripts do: read, parse, hash, compress, wait, work in a thread.
const fs = require('fs'), path = require('path'), crypto = require('crypto'), zlib = require('zlib');
const { Worker } = require('worker_threads');
const words = fs.readFileSync(path.join(__dirname, 'words.txt'), 'utf8').trim().split('\n');
const hash = crypto.createHash('sha256').update('abc').digest('hex').slice(0, 8);
const back = zlib.gunzipSync(zlib.gzipSync(words.join(' '))).toString().split(' ').length;
const file = path.join(require('os').tmpdir(), `t${process.pid}`);
fs.writeFileSync(file, JSON.stringify({ back }));
setTimeout(() => {
  const thread = new Worker('require("worker_threads").parentPort.postMessage(6 * 7)', { eval: true });
  thread.on('message', (n) => console.log(`node ${hash} ${JSON.parse(fs.readFileSync(file)).back} ${n}`));
}, 1);
