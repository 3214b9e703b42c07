// A textbook server. With a socket of its manager's (LISTEN_FDS) it listens there, else on PORT.
const http = require('node:http');
const fail = require('./fail.cjs');

const server = http.createServer((request, response) => {
  setTimeout(() => response.end(`${process.pid}`), 5);
});
const where = process.env.LISTEN_FDS ? { fd: 3 } : process.env.PORT;
fail(() => server.listen(where, () => console.log('listening')));
