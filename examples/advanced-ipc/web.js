'use strict';
const { createHash, randomBytes } = require('node:crypto');
const net = require('node:net');
const { channel } = require(`${process.env.SDK}/node`);

const ch = channel();

ch.handle('ask', () => ch.request('images', 'resize', { w: 640, h: 480 }, { timeout: 5_000 }));

ch.handle('hurry', async () => {
  const began = performance.now();
  const { code } = await ch.request('images', 'patience', null, { timeout: 200 }).catch((why) => why);
  return { code, ms: Math.round(performance.now() - began) };
});

ch.handle('large', async () => {
  const body = randomBytes(50_000_000);
  const began = performance.now();
  const theirs = await ch.request('images', 'checksum', null, { body });
  const ms = Math.round(performance.now() - began);
  return { bytes: body.length, same: theirs === createHash('sha256').update(body).digest('hex'), ms };
});

// Connections are accepted here and served in Python's process.
ch.handle('open', () => new Promise((resolve) => {
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    ch.sendHandle('images', 'serve', socket).then((pid) => console.log(`handed to pid ${pid}`), (why) => socket.destroy(why));
  });
  server.listen(0, '127.0.0.1', () => resolve(server.address().port));
}));

ch.ready();
