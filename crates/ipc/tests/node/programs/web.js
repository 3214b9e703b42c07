// A web server that knows nothing of clusters.
'use strict';
const http = require('http');
http.createServer((request, response) => {
  response.setHeader('connection', 'close');
  response.end(`${process.pid} ${request.url}`);
}).listen(Number(process.argv[2]), '127.0.0.1', function () {
  process.stdout.write(`listening ${this.address().port}\n`);
}).on('error', (error) => {
  process.stdout.write(`${error.code}\n`);
  process.exit(3);
});
