//! Workers of the kinds that users write.

/// As for `child_process.fork`: knows nothing of ganger.
pub(crate) const FORK_JS: &str = r"
process.on('message', (m) => {
  if (m.crash) { console.error('about to fall'); process.kill(process.pid, m.crash); return; }
  if (m.exit !== undefined) process.exit(m.exit);
  if (m.hang) { require('fs').appendFileSync(m.hang, 'started\n'); return; }
  process.send({ double: m.n * 2 });
});
process.send('ready');
";

/// Reads JSON lines, writes JSON lines, prints a banner first.
pub(crate) const LINES_PY: &str = r"
import sys, json
print('starting up', flush=True)
for line in sys.stdin:
    n = json.loads(line)
    if n == 'noise':
        for _ in range(20): print('not json', flush=True)
        continue
    if n == 'long':
        sys.stdout.write('x' * 3000000 + '\n'); sys.stdout.flush(); continue
    print(json.dumps(n + 1), flush=True)
";

/// The envelope by hand: hello, batches, `$sync`, `$ack`, `$cancel`; tasks `{ms, log}` take a while and leave a trace.
pub(crate) const ENVELOPE_PY: &str = r"
import sys, os, json, socket, select, time
s = socket.socket(fileno=int(os.environ['GANGER_CHANNEL_FD']))
rest, queue, unacked, acked, quit = b'', [], [], 0, False
def send(m): s.sendall(json.dumps(m).encode() + b'\n')
def take(m):
    global acked, unacked, quit
    if 'id' in m: queue.append(m)
    elif '$ack' in m: n = m['$ack'] - acked; del unacked[:n]; acked += n
    elif '$sync' in m:
        send({'$sync': {'n': m['$sync']['n'], 'running': [q['id'] for q in queue], 'done': unacked}}); acked = 0
    elif '$cancel' in m:
        for q in [q for q in queue if q['id'] == m['$cancel']]: q['cancelled'] = True
    elif '$drain' in m: quit = True
def pump(wait):
    global rest
    if not select.select([s], [], [], wait)[0]: return
    got = s.recv(1 << 16)
    if not got: sys.exit(0)
    *lines, rest = (rest + got).split(b'\n')
    for line in lines:
        m = json.loads(line)
        for one in (m if isinstance(m, list) else [m]): take(one)
send({'$hello': {'sdk': 'test', 'version': '0', 'batch': True}})
while not (quit and not queue):
    if not queue: pump(None); continue
    m = queue[0]; p = m['payload']
    trace = lambda word: p.get('log') and open(p['log'], 'a').write('%s %s %d\n' % (word, p.get('n'), m['attempt'])) and None
    trace('start')
    if p.get('kill'): sys.stderr.write('last words\n'); sys.stderr.flush(); os.kill(os.getpid(), p['kill'])
    until = time.monotonic() + p.get('ms', 0) / 1000
    while time.monotonic() < until and not m.get('cancelled'):
        pump(max(0, until - time.monotonic()))
    queue.pop(0)
    if m.get('cancelled'): r = {'id': m['id'], 'error': {'message': 'cancelled', 'class': 'Cancelled'}}
    elif p.get('fail'): r = {'id': m['id'], 'error': {'message': p['fail'], 'class': 'Bad', 'stack': 'here'}}
    else: r = {'id': m['id'], 'result': {'n': p.get('n'), 'attempt': m['attempt'], 'kind': m['kind']}}
    trace('end')
    unacked.append(r); send(r); pump(0)
";

/// The envelope by hand, for tasks that eat memory (`eat`) or stop their own process at the first attempt (`stop`).
pub(crate) const POISON_PY: &str = r"
import sys, os, json, socket, signal
s = socket.socket(fileno=int(os.environ['GANGER_CHANNEL_FD']))
rest, queue, unacked, acked = b'', [], [], 0
def send(m): s.sendall(json.dumps(m).encode() + b'\n')
def take(m):
    global acked
    if 'id' in m: queue.append(m)
    elif '$ack' in m: n = m['$ack'] - acked; del unacked[:n]; acked += n
    elif '$sync' in m:
        send({'$sync': {'n': m['$sync']['n'], 'running': [q['id'] for q in queue], 'done': unacked}}); acked = 0
def note(path, text):
    with open(path, 'a') as f: f.write(text + '\n')
def gone(path):
    lines = open(path).read().split('\n') if os.path.exists(path) else []
    for pid in [l.split()[0] for l in lines if l]:
        if os.path.exists('/proc/' + pid): note(path, '%d beside %s' % (os.getpid(), pid))
send({'$hello': {'sdk': 'test', 'version': '0', 'batch': True}})
while True:
    if not queue:
        got = s.recv(1 << 16)
        if not got: sys.exit(0)
        *lines, rest = (rest + got).split(b'\n')
        for line in lines:
            m = json.loads(line)
            for one in (m if isinstance(m, list) else [m]): take(one)
        continue
    m = queue[0]; p = m['payload']
    if p.get('eat'):
        sys.stderr.write('eating\n'); sys.stderr.flush(); note(p['eat'], 'attempt %d' % m['attempt'])
        try:
            full = []
            while True: full.append(bytearray(b'x') * (4 << 20))
        except MemoryError: os.abort()
    if p.get('stop'):
        gone(p['stop']); note(p['stop'], '%d %d' % (os.getpid(), m['attempt']))
        if m['attempt'] == 1: os.kill(os.getpid(), signal.SIGSTOP)
    queue.pop(0)
    r = {'id': m['id'], 'result': p.get('n')}
    unacked.append(r); send(r)
";

/// A raw worker that stops its own process at the first task it ever gets.
pub(crate) const STOPPED_RAW_PY: &str = r"
import sys, os, json, socket, signal
s = socket.socket(fileno=int(os.environ['GANGER_CHANNEL_FD'])).makefile('rw')
trace, flag = sys.argv[1:]
for line in s:
    old = open(trace).read().split('\n') if os.path.exists(trace) else []
    with open(trace, 'a') as f:
        for pid in [l.split()[0] for l in old if l]:
            if os.path.exists('/proc/' + pid): f.write('%d beside %s\n' % (os.getpid(), pid))
        f.write('%d\n' % os.getpid())
    if not os.path.exists(flag):
        open(flag, 'w').close()
        os.kill(os.getpid(), signal.SIGSTOP)
    s.write('1\n'); s.flush()
";

/// Says what its payload asks for; the SDK is at `SDK`.
pub(crate) const WORDS_JS: &str = r"
const { worker } = require('SDK');
worker((what, task) => {
  if (what === 'flood') {
    for (let n = 1; n <= 100000; n += 1) { task.log(`line ${n}`); task.progress(n / 1000); }
    return 1;
  }
  task.log(`attempt ${task.attempt}`);
  if (task.attempt > 1) {
    // As a callback of the first attempt would, had it the channel.
    process.send({ id: task.id, token: '1.0', log: 'stale' });
    return 1;
  }
  task.progress(33, 'half way');
  task.log('two\nlines');
  process.abort();
});
";

/// The same in Python; with files it says something before and after they are there.
pub(crate) const WORDS_PY: &str = r"
import os, select, sys, time
sys.path.insert(0, 'SDK')
from ganger import worker

@worker.task()
def words(what, task):
    if what == 'flood':
        for n in range(1, 100001):
            task.log(f'line {n}')
            task.progress(n / 1000)
        return 1
    if isinstance(what, dict):
        task.log('before')
        task.progress(10)
        with open(what['began'], 'w') as file:
            file.write('begun\n')
        while not os.path.exists(what['go']):
            time.sleep(0.01)
        task.log('after')
        return 1
    task.log(f'attempt {task.attempt}')
    if task.attempt > 1:
        task.token = '1.0'
        task.log('stale')
        return 1
    task.progress(33, 'half way')
    task.log('two\nlines')
    os.kill(os.getpid(), 9)

worker.run()
";
