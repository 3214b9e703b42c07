"""A textbook server on the socket of its manager's (LISTEN_FDS)."""

import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write for head and body: two make the kernel wait for an acknowledgement (Nagle).
    wbufsize = -1

    def do_GET(self):
        time.sleep(0.005)
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


if os.environ.get("BAD") == "never-ready":
    threading.Event().wait()
if os.environ.get("BAD") == "dies-after-2s":
    threading.Timer(2, lambda: os._exit(3)).start()
server = ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)
print("listening", flush=True)
server.serve_forever()
