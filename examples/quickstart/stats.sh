# A worker: statistics of one file as one JSON object. An unreadable file is an error with a reason, and is retried.
# The path is the argument; the payload ({"path":"…"}) is on stdin, and its path goes into the result as it is written there.
set -eu
file=$1
[ -r "$file" ] || { echo "can't read $file" >&2; exit 1; }
name=$(sed 's/^{"path"://; s/}$//')
sha=$(sha256sum < "$file" | cut -d' ' -f1)
bytes=$(wc -c < "$file")
# One byte is one character here, whatever the file holds.
counts=$(LC_ALL=C awk '
    { words += NF; if (length($0) > longest) longest = length($0) }
    END { printf "\"lines\":%d,\"words\":%d,\"longest\":%d", NR, words, longest }
' < "$file")
printf '{"file":%s,"bytes":%d,%s,"sha256":"%s"}\n' "$name" "$bytes" "$counts" "$sha"
