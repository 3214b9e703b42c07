import hashlib
import os
import sys

sys.path.insert(0, os.environ["SDK"] + "/python")

from ganger import channel  # noqa: E402

ch = channel()


@ch.on("resize")
def resize(payload, request):
    return {"by": "python", "for": request.sender, "pixels": payload["w"] * payload["h"]}


@ch.on("checksum")
def checksum(payload, request):
    return hashlib.sha256(request.body).hexdigest()


@ch.on("patience")
def patience(payload, request):
    # Until nobody waits for it any more.
    request.cancelled.wait(60)


@ch.on_handle("serve")
def serve(sock, payload, request):
    sock.sendall(f"HTTP/1.0 200 OK\r\n\r\nserved by python, pid {os.getpid()}\n".encode())
    sock.close()
    return os.getpid()


@ch.on("readings")
def readings(payload, request):
    for n in range(1, payload + 1):
        ch.publish("readings.room1", n)
    ch.publish("readings.end", payload)


ch.ready()
ch.run()
