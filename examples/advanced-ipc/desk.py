import os
import sys

sys.path.insert(0, os.environ["SDK"] + "/python")

from ganger import channel  # noqa: E402

ch = channel()


@ch.on_connection
def serve(sock, said):
    sock.sendall(f"served by {os.getpid()}\n".encode())
    sock.close()


ch.ready()
ch.run()
