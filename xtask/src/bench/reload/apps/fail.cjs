// A version that is no good, by BAD: one that is never ready, or one that dies after two seconds.
module.exports = (listen) => {
  if (process.env.BAD === 'never-ready') return setInterval(() => {}, 1000);
  if (process.env.BAD === 'dies-after-2s') setTimeout(() => process.exit(3), 2000);
  return listen();
};
