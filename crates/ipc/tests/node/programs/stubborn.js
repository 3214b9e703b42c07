// Takes one connection at a time; leaves by its own will when it is asked for /leave.
'use strict';
const cluster = require('cluster');
const net = require('net');
const server = net.createServer((socket) => {
  socket.on('data', (data) => {
    if (String(data).startsWith('leave')) {
      socket.end('leaving');
      return cluster.worker.disconnect();
    }
    socket.write(`${process.pid}\n`);
  });
});
server.maxConnections = 1;
server.listen(0, '127.0.0.1');
