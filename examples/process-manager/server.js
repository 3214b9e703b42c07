'use strict';
const fs = require('node:fs');
const http = require('node:http');

const { PORT, VERSION } = process.env;
// Version 3 is no good, and that shows late.
if (VERSION === '3') setTimeout(() => { console.error('version 3 is broken'); process.exit(1); }, 1000);
process.on('exit', () => fs.appendFileSync('ended', 'web\n'));

http
  .createServer((request, response) => setTimeout(() => response.end(VERSION), 5))
  .listen(PORT, '127.0.0.1', () => console.log(`version ${VERSION} serves`));
