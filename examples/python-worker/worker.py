# A filter as people write them: a line of JSON in, a line of JSON out. It knows nothing of ganger.
import json
import sys

for line in sys.stdin:
    text = json.loads(line)["text"]
    words = text.lower().split()
    longest = max(words, key=len, default="")
    print(json.dumps({"words": len(words), "longest": longest}), flush=True)
