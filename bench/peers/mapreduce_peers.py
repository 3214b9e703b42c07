#!/usr/bin/env python3
"""Word count and sort beside their peers, on a file of your own.

    cargo build --release -p ganger-mapreduce --example job
    python3 bench/peers/mapreduce_peers.py CORPUS [--runs 5] [--only words|sort] [--with mawk,polars,duckdb]

Each round runs every program once, in turn, so that what else the machine does hits all of them; medians of wall time and of
processor time (user + system, children included) are printed with versions and settings. The result of every program is
checked: sorted by bytes it must have the same SHA-256. polars and duckdb are asked in a process of their own; the time that
it takes to import them is measured apart and stands in the table. Nothing is synced to disk by anybody.
"""
import argparse, hashlib, os, resource, shutil, statistics, subprocess, sys, tempfile, time

POLARS = """
import polars as pl, sys
words = pl.scan_csv(sys.argv[1], has_header=False, new_columns=['line'], separator='\\x01', quote_char=None,
                    encoding='utf8-lossy', raise_if_empty=False)
words = words.select(pl.col('line').str.extract_all(r'[^ \\t\\n\\x0b\\x0c\\r]+').explode().alias('w')).drop_nulls()
words.group_by('w').len().collect(engine='streaming').write_csv(sys.argv[2], include_header=False, separator='\\t', quote_style='never')
"""
DUCKDB = """
import duckdb, sys
duckdb.execute("SET threads TO %d" % __import__('os').cpu_count())
duckdb.execute(f'''COPY (SELECT w, count(*) FROM (SELECT unnest(regexp_extract_all(line, '[^ \\t\\n\\x0b\\x0c\\r]+')) AS w
  FROM read_csv('{sys.argv[1]}', columns={{'line': 'VARCHAR'}}, delim='\\x01', quote='', escape='', header=false, auto_detect=false,
  max_line_size=16777216, strict_mode=false, ignore_errors=false)) GROUP BY w) TO '{sys.argv[2]}' (DELIMITER '\\t', HEADER false, QUOTE '', ESCAPE '')''')
"""


def programs(corpus, job, python):
    slots = str(os.cpu_count())
    words = {
        "ganger, 512 MiB": lambda out: [job, "words", "--memory", "512", "--output", out, corpus],
        "ganger, 8 GiB": lambda out: [job, "words", "--memory", "8192", "--output", out, corpus],
        "tr | mawk": lambda out: ["sh", "-c", "tr -s '[:space:]' '\\n' < \"$1\" | mawk 'NF{c[$0]++} END{for(w in c) print w \"\\t\" c[w]}' > \"$2\"", "sh", corpus, out],
        "polars": lambda out: [python, "-c", POLARS, corpus, out],
        "duckdb": lambda out: [python, "-c", DUCKDB, corpus, out],
    }
    sort = {"ganger, 512 MiB": lambda out: [job, "sort", "--memory", "512", "--output", out, corpus]}
    for size in ("20M", "100M", "512M"):
        sort[f"sort -S {size}"] = lambda out, size=size: ["sort", f"--parallel={slots}", "-S", size, "-o", out, corpus]
    return {"words": words, "sort": sort}


def digest(path):
    """SHA-256 of the result's lines sorted by bytes; a folder's parts one behind the other."""
    files = sorted(os.path.join(path, n) for n in os.listdir(path) if n.startswith("part-")) if os.path.isdir(path) else [path]
    ordered = subprocess.Popen(["sort", "-S", "25%"] + files, env={**os.environ, "LC_ALL": "C"}, stdout=subprocess.PIPE)
    sha = hashlib.sha256()
    while chunk := ordered.stdout.read(1 << 20):
        sha.update(chunk)
    if ordered.wait() != 0:
        raise SystemExit(f"sort of {path} failed")
    return sha.hexdigest()


def run(command, out):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, "LC_ALL": "C"}, stderr=subprocess.PIPE, text=True)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        return None, error.strip()[-300:]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (wall, cpu, usage.ru_maxrss / 1024), None


def version(command):
    try:
        told = subprocess.run(command, capture_output=True, text=True)
        return (told.stdout or told.stderr).splitlines()[0]
    except (OSError, IndexError):
        return "not there"


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("corpus")
    ask.add_argument("--runs", type=int, default=5)
    ask.add_argument("--only", choices=["words", "sort"])
    ask.add_argument("--with", dest="peers", help="only these peers, by the start of their names")
    ask.add_argument("--job", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/examples/job"))
    ask.add_argument("--python", default=sys.executable, help="one that has polars and duckdb")
    asked = ask.parse_args()
    size = os.path.getsize(asked.corpus)
    print(f"{asked.corpus}: {size / 1e6:.0f} MB, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    for name, command in {"sort": ["sort", "--version"], "mawk": ["mawk", "-W", "version"], "python": [asked.python, "--version"],
                          "polars": [asked.python, "-c", "import polars; print('polars', polars.__version__)"],
                          "duckdb": [asked.python, "-c", "import duckdb; print('duckdb', duckdb.__version__)"]}.items():
        start = time.monotonic()
        print(f"  {version(command)} (start {time.monotonic() - start:.2f} s)")
    wrong = False
    for kind, commands in programs(asked.corpus, asked.job, asked.python).items():
        if asked.only not in (None, kind):
            continue
        if asked.peers:
            starts = tuple(["ganger"] + asked.peers.split(","))
            commands = {name: command for name, command in commands.items() if name.startswith(starts)}
        seen, digests, failed = {name: [] for name in commands}, {}, {}
        for _ in range(asked.runs):
            for name, command in commands.items():
                if name in failed:
                    continue
                folder = tempfile.mkdtemp(dir=os.path.dirname(os.path.abspath(asked.corpus)))
                try:
                    out = os.path.join(folder, "out")
                    figures, error = run(command(out), out)
                    if error is not None:
                        failed[name] = error
                        continue
                    seen[name].append(figures)
                    if name not in digests:
                        digests[name] = digest(out)
                finally:
                    shutil.rmtree(folder)
        print(f"\n{kind}: median of {asked.runs}, interleaved")
        ours = digests.get("ganger, 512 MiB")
        for name in commands:
            if name in failed:
                print(f"  {name:18} failed: {failed[name]}")
                continue
            wall, cpu, peak = (statistics.median(figure) for figure in zip(*seen[name]))
            same = "same result" if digests[name] == ours else "OTHER RESULT"
            wrong |= digests[name] != ours
            print(f"  {name:18} {wall:7.2f} s  {cpu:7.2f} CPU s  {size / 1e6 / wall:6.0f} MB/s  {peak:7.0f} MiB  {same}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
