'use strict';
const http = require('node:http');

const { PORT, VERSION } = process.env;
// Version 3 is no good, and that shows late.
if (VERSION === '3') setTimeout(() => { throw new Error('version 3 is broken'); }, 2000);

http
  .createServer((request, response) => setTimeout(() => response.end(VERSION), 5))
  .listen(PORT, '127.0.0.1', () => console.log(`version ${VERSION} serves`));
