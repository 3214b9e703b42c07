//! Languages, compilers and git.

use super::cases::{ALL, BUILD, Case, STANDARD, STRICT, WHOLE, case};

/// A line of shell, with the compiler's way of failing at once.
macro_rules! line {
    ($text:literal) => {
        &["sh", "-euc", $text]
    };
}

/// What git runs besides itself.
const GIT_PARTS: &[&str] = &["--exec", "{git-core}", "--exec", "/bin/sh", "--exec", "{/git}"];
const PYTHON: &[&str] = &["--read", "/usr/lib"];

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    case("git log", ALL, &["git", "-C", "{ro}/repo", "log", "--oneline"], "first words"),
    case("git show", ALL, &["git", "-C", "{ro}/repo", "show", "--stat", "HEAD"], "words.txt | 5"),
    case("git blame", ALL, &["git", "-C", "{ro}/repo", "blame", "-s", "words.txt"], "walnut"),
    case("git grep", ALL, &["git", "-C", "{ro}/repo", "grep", "-n", "fig"], "words.txt:3:fig"),
    case("git status", ALL, &["git", "-C", "{ro}/repo", "status", "--short", "--branch"], "##"),
    case("git archive", ALL, &["git", "-C", "{ro}/repo", "archive", "-o", "{rw}/words.tar", "HEAD"], "").makes("words.tar"),
    case("git init", ALL, &["git", "init", "-q", "{rw}/new"], "").makes("new/.git/HEAD"),
    case("git clone", ALL, &["git", "clone", "-q", "{ro}/repo", "{rw}/clone"], "").makes("clone/words.txt").strict(GIT_PARTS),
    case("git clone by file:", ALL, &["git", "clone", "-q", "file://{ro}/repo", "{rw}/clone"], "").makes("clone/words.txt").strict(GIT_PARTS),
    case("git commit", WHOLE, line!("cp -r {ro}/repo . && cd repo && echo kiwi >> words.txt && git -c user.name=a -c user.email=a@b commit -qam kiwi && git log --oneline"), "kiwi"),
    case("git rebase", WHOLE, line!("cp -r {ro}/repo . && cd repo && export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git checkout -qb side && echo a > a && git add a && git commit -qm side && git checkout -q - && echo b > b && git add b && git commit -qm main
        git rebase -q HEAD side && git log --format=%s | tr '\\n' ' '"), "side main first words"),
    case("git stash and gc", WHOLE, line!("cp -r {ro}/repo . && cd repo && echo x >> words.txt && git -c user.name=a -c user.email=a@b stash -q && git gc -q && git stash list"), "WIP"),
    case("git worktree", WHOLE, line!("cp -r {ro}/repo . && git -C repo worktree add -q ../other && ls other"), "words.txt"),

    case("bash", ALL, &["bash", "{ro}/tool.sh"], "bash 4 words 2 3"),
    case("bash -c with pipes", WHOLE, &["bash", "-c", "cat <(seq 3) <(seq 2) | sort -u | while read n; do echo n$n; done | tail -n1"], "n3"),
    case("perl", ALL, &["perl", "-Mstrict", "-lne", "our %n; $n{$_}++; END { print join ',', map {\"$_=$n{$_}\"} sort keys %n }", "{ro}/words.txt"], "apple=2,fig=1")
        .strict(&["--read", "/usr/lib", "--read", "/usr/share/perl", "--read", "/etc/perl"]),
    case("perl with modules", WHOLE, &["perl", "-MFile::Temp=tempfile", "-MDigest::SHA=sha1_hex", "-e", "my ($f) = tempfile(); print sha1_hex('abc')"], "a9993e36"),
    case("python", ALL, &["python3", "{ro}/tool.py"], "['python', 'apple', '2']").strict(PYTHON),
    case("python -c json", ALL, &["python3", "-c", "import json,sys; print(json.dumps({'a': [1, None, 'é']}))"], "u00e9").strict(PYTHON),
    case("python sqlite3", ALL, &["python3", "-c", "import sqlite3; c = sqlite3.connect('{rw}/p.db'); c.execute('create table t(n)'); c.execute('insert into t values (42)'); c.commit(); print('n', *c.execute('select n from t').fetchone())"], "n 42").strict(PYTHON),
    case("python subprocess", WHOLE, &["python3", "-c", "import subprocess; print(subprocess.run(['seq', '3'], capture_output=True, text=True, check=True).stdout.split())"], "['1', '2', '3']"),
    case("python multiprocessing", WHOLE, &["python3", "-c", "import multiprocessing as m; p = m.Pool(2); print(sum(p.map(abs, [-40, -2]))); p.close(); p.join()"], "42"),
    case("python shared memory", ALL, &["python3", "-c", "from multiprocessing import shared_memory as s; m = s.SharedMemory(create=True, size=9); m.buf[0] = 42; print('shm', m.buf[0]); m.close(); m.unlink()"], "shm 42").strict(PYTHON),
    case("python asyncio", ALL, &["python3", "-c", "import asyncio; print(asyncio.run(asyncio.sleep(0.001, 'slept')))"], "slept").strict(PYTHON),
    case("python server and client", WHOLE, &["python3", "-c", "import http.server as h, threading as t, urllib.request as u
s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler); t.Thread(target=s.serve_forever, daemon=True).start()
print(u.urlopen('http://127.0.0.1:%d/' % s.server_port).status)"], "200"),
    case("python venv", BUILD, line!("python3 -m venv --without-pip v && echo 'x = 42' > v/lib/python3*/site-packages/m.py 2> /dev/null || true; v/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'"), "True"),
    case("python unittest", BUILD, line!("printf 'import unittest\\nclass T(unittest.TestCase):\\n    def test_a(self): self.assertEqual(40 + 2, 42)\\n' > test_a.py && python3 -m unittest -v 2>&1"), "OK"),
    case("node", ALL, &["node", "{ro}/tool.js"], "node ba7816bf 5 42"),
    case("node -p", ALL, &["node", "-p", "[3, 1, 2].sort().join() + new Intl.NumberFormat('de').format(1.5)"], "1,2,31,5"),
    case("node child_process", WHOLE, &["node", "-e", "console.log(require('child_process').execSync('seq 3 | tail -n1').toString())"], "3"),
    case("node fork", WHOLE, &["node", "-e", "require('fs').writeFileSync('c.js', 'process.send(\"forked\")'); require('child_process').fork('./c.js').on('message', (m) => console.log(m))"], "forked"),
    case("node server and client", WHOLE, &["node", "-e", "const h = require('http'); const s = h.createServer((q, r) => r.end('served')).listen(0, '127.0.0.1', () => h.get({ port: s.address().port, host: '127.0.0.1' }, (r) => { r.pipe(process.stdout); r.on('end', () => s.close()) }))"], "served"),
    case("node networkInterfaces", WHOLE, &["node", "-p", "Array.isArray(Object.keys(require('os').networkInterfaces())) && 'listed'"], "listed"),
    case("node --test", BUILD, line!("echo \"require('node:test')('adds', () => require('assert').equal(40 + 2, 42))\" > a.test.js && node --test 2>&1"), "pass 1"),
    case("npm run", BUILD, line!("cp {ro}/npm/package.json . && npm run build 2>&1"), "built by npm"),
    case("java", WHOLE, &["java", "-Xshare:auto", "-version"], "version"),

    case("cc", BUILD, line!("cc -O2 -Wall -o prog {ro}/c/main.c {ro}/c/sum.c && ./prog"), "42 from C"),
    case("make", BUILD, line!("cp {ro}/c/* . && make -j2 && ./prog && make check"), "all is well"),
    case("c++", BUILD, line!("c++ -std=c++17 -o prog {ro}/hello.cc -pthread && ./prog"), "caught thrown"),
    case("cc to assembler", WHOLE, &["cc", "-S", "-O1", "-o", "-", "{ro}/c/sum.c"], "sum:"),
    case("ar, nm, strip, objdump", BUILD, line!("cc -c {ro}/c/sum.c && ar rcs libsum.a sum.o && nm libsum.a && cc -o prog {ro}/c/main.c -L. -lsum && strip prog && objdump -f prog && ./prog"), "42 from C"),
    case("shared library", BUILD, line!("cc -shared -fPIC -o libsum.so {ro}/c/sum.c && cc -o prog {ro}/c/main.c -L. -lsum -Wl,-rpath,. && ./prog"), "42 from C"),
    case("address sanitizer", BUILD, line!("cc -fsanitize=address -g -o prog {ro}/c/main.c {ro}/c/sum.c && ./prog"), "42 from C"),
    case("gdb", BUILD, line!("cc -g -o prog {ro}/c/main.c {ro}/c/sum.c && gdb -nx -batch -ex 'break sum' -ex run -ex bt ./prog 2>&1"), "main.c:3"),
    case("configure script", BUILD, line!("printf '%s\\n' 'int main(void){return 0;}' > conftest.c; for f in -O2 -pipe -fPIC; do cc $f conftest.c -o conftest && ./conftest && echo \"checking $f yes\"; done | tee config.log; mkdir -p inst/bin && install -m 755 conftest inst/bin/ && inst/bin/conftest"), "checking -fPIC yes"),
    case("rustc", BUILD, &["{rust}/bin/rustc", "-o", "hello", "{ro}/hello.rs"], "").makes("hello"),
    case("rustc and run", BUILD, line!("{rust}/bin/rustc -O -o hello {ro}/hello.rs && ./hello"), "36 from Rust").more(&["--exec", "{rust}"]),
    case("cargo test", BUILD, line!("export CARGO_HOME=$PWD/.cargo RUSTC={rust}/bin/rustc RUSTDOC={rust}/bin/rustdoc
        {rust}/bin/cargo init -q --vcs none --lib --name x . && {rust}/bin/cargo test -q --offline --lib"), "1 passed").more(&["--exec", "{rust}"]),
    case("pkg-config", STANDARD, &["pkg-config", "--version"], "."),
    case("test of a lock", STRICT, &["python3", "-c", "import fcntl; f = open('{rw}/l', 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('locked')"], "locked").strict(PYTHON),
];
