#!/bin/bash
# What scripts of bash do without another program: arrays, here documents, descriptors, arithmetic, jobs, traps.
set -euo pipefail
here=$(dirname "$0" 2> /dev/null || echo "${0%/*}")
declare -A count
while read -r word; do count[$word]=$((${count[$word]:-0} + 1)); done < "$here/words.txt"
mapfile -t lines < <(for word in "${!count[@]}"; do echo "${count[$word]} $word"; done)
exec 5> "${TMPDIR:-/tmp}/spool.$$"
echo "${#lines[@]} words" >&5
exec 5>&-
read -r text <<< "$(< "${TMPDIR:-/tmp}/spool.$$")"
(trap 'exit 3' TERM; kill -TERM $BASHPID; read -r -t 5 _ < <(:) ; exit 4) && code=0 || code=$?
wait
cat <<END 2> /dev/null || printf 'bash %s %s %d\n' "$text" "${count[apple]}" "$code"
bash $text ${count[apple]} $code
END
