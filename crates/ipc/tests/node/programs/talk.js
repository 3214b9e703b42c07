// An ordinary forked program: says what it got, counts what it holds.
'use strict';
const net = require('net');
const held = [];
process.on('message', (message, handle) => {
  if (message === 'env') {
    return process.send({ env: Object.keys(process.env).filter((name) => name.startsWith('NODE_CH') || name.startsWith('NODE_UN')) });
  }
  if (message === 'give') {
    const server = net.createServer((socket) => socket.end('given'));
    return server.listen(0, '127.0.0.1', () => {
      process.send({ server: server.address().port }, server);
      process.send('after the server');
    });
  }
  if (message === 'drop') return held.splice(0).forEach((socket) => socket.destroy());
  if (message === 'bye') return process.disconnect();
  if (handle instanceof net.Socket) {
    held.push(handle);
    return handle.write(`socket ${message.n}\n`);
  }
  if (handle instanceof net.Server) {
    handle.on('connection', (socket) => socket.end('served'));
    return process.send('server');
  }
  process.send({ echo: message });
});
process.on('disconnect', () => process.stdout.write('disconnect\n'));
process.send('up');
