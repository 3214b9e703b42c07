// A worker as Node's own child_process.fork runs it. It knows nothing of ganger.
process.on('message', (n) => {
  if (!Number.isInteger(n) || n < 2) process.exit(3); // a bug: it takes the whole process down
  const factors = [];
  let rest = n;
  for (let p = 2; p * p <= rest; p += 1) {
    while (rest % p === 0) {
      factors.push(p);
      rest /= p;
    }
  }
  if (rest > 1) factors.push(rest);
  process.send({ n, factors, pid: process.pid });
});
