// The same with Express.
const express = require('express');
const fail = require('./fail.cjs');

const app = express();
app.get('/', (request, response) => {
  setTimeout(() => response.send(`${process.pid}`), 5);
});
const where = process.env.LISTEN_FDS ? { fd: 3 } : process.env.PORT;
fail(() => app.listen(where, () => console.log('listening')));
