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

"$GANGER" status
"$GANGER" down || die "down"
said "down"
