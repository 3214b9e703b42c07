#!/usr/bin/python3
"""What small scripts do: parse, count, hash, format, write a temporary file."""
import collections, csv, datetime, decimal, hashlib, json, math, os, random, re, sys, tempfile, threading

words = open(os.path.join(os.path.dirname(sys.argv[0]), "words.txt")).read().split()
most = collections.Counter(words).most_common(1)[0]
with tempfile.TemporaryFile("w+") as spool:
    spool.write(json.dumps({"most": most, "pi": round(math.pi, 2)}))
    spool.seek(0)
    back = json.load(spool)
found = []
threads = [threading.Thread(target=lambda n=n: found.append(decimal.Decimal(n) / 2)) for n in range(4)]
[t.start() for t in threads], [t.join() for t in threads]
assert sum(found) == 3 and re.fullmatch(r"[a-z]+", most[0]) and random.random() < 1
assert hashlib.sha256(b"abc").hexdigest().startswith("ba7816bf")
assert datetime.datetime.fromtimestamp(0, datetime.timezone.utc).year == 1970
print(next(csv.reader(["python,%s,%d" % (back["most"][0], back["most"][1])])))
