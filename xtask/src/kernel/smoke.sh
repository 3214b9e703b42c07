# The CLI end to end in the emulated machine: doctor, up, ps, push, logs, stop, down, and nobody left.
# Run with GANGER=/path/to/ganger. Prints one `ok` line per claim; the first one that fails ends it.
set -eu

dir=$(mktemp -d)
cd "$dir"
trap '"$GANGER" down >/dev/null 2>&1 || true; cd /; rm -rf "$dir"' EXIT

said() { printf 'ok %s\n' "$1"; }
die() { printf 'FAILED %s\n' "$1"; exit 1; }

cat > ganger.toml <<'TOML'
version = 1

[service.talker]
shell = "echo hello from $$; exec sleep 1000"

[service.limited]
command = ["sleep", "1000"]
limits = { memory = "64M", pids = 50 }

[queue.words]
durability = "fsync"

[pool.words]
command = ["wc", "-c"]
queues = ["words"]
workers = 2
protocol = "command"
TOML

"$GANGER" doctor > doctor.txt || die "doctor"
grep -qi "cgroup" doctor.txt || die "doctor tells of cgroups"
grep -i "cgroup" doctor.txt
said "doctor"

"$GANGER" up -d || die "up -d"
"$GANGER" wait service:talker=ready --timeout 60s || die "talker is ready"
"$GANGER" ps
"$GANGER" logs talker | grep -q "hello from" || die "the log line is there"
said "a service runs and its log is read"

"$GANGER" push words --payload '{"word":"gang"}' --wait --json > task.json || die "push --wait"
grep -q '"completed"' task.json || die "the task completed: $(cat task.json)"
said "a task went through a command worker"

pid_of() { "$GANGER" "$1" --json | tr '{' '\n' | grep "$2" | grep -o '"pid":[0-9]*' | head -n 1 | cut -d: -f2; }
keeper=$("$GANGER" status --json | grep -o '"keeper":{"pid":[0-9]*' | cut -d: -f3)
daemon=$("$GANGER" status --json | grep -o '"daemon":{"pid":[0-9]*' | cut -d: -f3)
talker=$(pid_of ps '"name":"talker"')
kill -9 "$daemon"
"$GANGER" wait service:talker=ready --timeout 60s || die "a daemon is back"
[ "$("$GANGER" status --json | grep -o '"daemon":{"pid":[0-9]*' | cut -d: -f3)" != "$daemon" ] || die "it is another daemon"
[ "$(pid_of ps '"name":"talker"')" = "$talker" ] || die "talker kept its pid"
"$GANGER" push words --payload '{"word":"on"}' --wait --json | grep -q '"completed"' || die "tasks go on"
said "a killed daemon is not noticed"

code=0
"$GANGER" run --timeout 1s -- sh -c 'trap "" TERM; setsid sleep 1000 & sleep 1000' || code=$?
[ "$code" = 124 ] || die "run with a timeout ends with 124, not $code"
said "run ends its tree"

"$GANGER" status
"$GANGER" down || die "down"
for pid in "$keeper" "$talker"; do
    if kill -0 "$pid" 2> /dev/null; then die "pid $pid is left after down"; fi
done
said "down"
