# db or api: up at once, down when told.
trap 'echo "$1" >> ended; exit 0' TERM
echo "$1 is up"
while :; do sleep 1000 & wait $!; done
