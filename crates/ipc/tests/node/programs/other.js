// A Unix socket server and a UDP one, of one program.
'use strict';
const dgram = require('dgram');
const net = require('net');
net.createServer((socket) => socket.end(`unix ${process.pid}`)).listen(process.argv[2], () => {
  const udp = dgram.createSocket('udp4');
  udp.on('message', (message, from) => udp.send(`udp ${message}`, from.port, from.address));
  udp.bind(0, '127.0.0.1');
});
