// A Node worker with ganger's SDK that does nothing.
const { worker } = require('../../sdk/node');

worker(() => null);
