'use strict';
// 16 clients: half of them keep their connection, the others open one for each request. At the end: what was counted, as JSON.
const http = require('node:http');

const port = process.argv[2];
const counts = { requests: 0, failed: 0, versions: {} };
let going = true;

function ask(agent) {
  return new Promise((resolve) => {
    const request = http.get({ port, host: '127.0.0.1', agent }, (response) => {
      let body = '';
      response.on('data', (text) => { body += text; });
      response.on('end', () => resolve(body));
      response.on('error', (error) => resolve(error));
    });
    request.on('error', resolve);
  });
}

async function client(keepAlive) {
  const agent = new http.Agent({ keepAlive, maxSockets: 1 });
  while (going) {
    const answer = await ask(agent);
    counts.requests += 1;
    if (typeof answer === 'string') {
      counts.versions[answer] = (counts.versions[answer] ?? 0) + 1;
    } else {
      counts.failed += 1;
      console.error(String(answer));
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
  }
  agent.destroy();
}

process.on('SIGTERM', () => { going = false; });
Promise.all(Array.from({ length: 16 }, (_, n) => client(n % 2 === 0))).then(() => console.log(JSON.stringify(counts)));
