"""A service's channel: each test is a scripted ganger at the other end of a socketpair."""

import array
import fcntl
import json
import os
import socket
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEADLINE_S = 60


class Ganger:
    """Our end."""

    def __init__(self):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(DEADLINE_S)
        fd = theirs.fileno()
        env = {**os.environ, "PYTHONPATH": str(HERE.parent), "GANGER_CHANNEL_FD": str(fd), "NODE_CHANNEL_FD": str(fd)}
        command = [sys.executable, str(HERE / "workers" / "channel.py")]
        self.child = subprocess.Popen(command, env=env, pass_fds=[fd])
        theirs.close()
        self.rest = b""
        self.fds = []
        assert self.next()["$hello"]["bodies"] == "fd"
        self.subscribed = self.next()
        assert self.next() == "ready"

    def send(self, words, fd=None, kind="net.Socket"):
        if fd is None:
            self.socket.sendall(json.dumps(words).encode() + b"\n")
            return
        line = json.dumps({"cmd": "NODE_HANDLE", "type": kind, "msg": words}).encode() + b"\n"
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        assert self.socket.sendmsg([line], rights) == len(line)
        assert self.next() == {"cmd": "NODE_HANDLE_ACK"}

    def next(self):
        while b"\n" not in self.rest:
            data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(64))
            assert data, "it closed its end"
            self.rest += data
            for _, _, fds in ancillary:
                self.fds += array.array("i", fds)
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def ask(self, kind, payload=None, **more):
        self.send({"$g": "request", "id": "7.1", "from": "web#1", "kind": kind, "payload": payload, **more})
        return self.next()


class ChannelTest(unittest.TestCase):
    def setUp(self):
        self.ganger = Ganger()
        self.addCleanup(self.ganger.socket.close)
        self.addCleanup(self.ganger.child.wait)
        self.addCleanup(self.ganger.child.kill)

    def test_requests_are_answered(self):
        ganger = self.ganger
        self.assertEqual(ganger.ask("add", [1, 2]), {"$g": "response", "id": "7.1", "result": ["web#1", 3]})
        self.assertEqual(ganger.ask("fail")["error"]["class"], "KeyError")
        self.assertIn("no handler", ganger.ask("other")["error"]["message"])
        ganger.send({"$g": "request", "id": "7.2", "from": "api", "kind": "wait"})
        ganger.send({"$g": "cancel", "id": "7.2", "why": "deadline"})
        self.assertEqual(ganger.next()["result"], True)
        ganger.socket.shutdown(socket.SHUT_RDWR)
        self.assertEqual(ganger.child.wait(DEADLINE_S), 0)

    def test_it_asks_others(self):
        ganger = self.ganger
        asked = ganger.ask("ask", {"n": 1})
        id = asked.pop("id")
        self.assertEqual(asked, {"$g": "request", "to": "other", "kind": "k", "timeout_ms": 30000, "payload": {"n": 1}})
        ganger.send({"$g": "response", "id": id, "code": "gone", "error": {"message": "it ended"}})
        self.assertEqual(ganger.next()["result"], ["gone", "it ended"])
        asked = ganger.ask("call off")
        self.assertEqual(ganger.next(), {"$g": "cancel", "id": asked["id"]})

    def test_a_next_daemon_hears_what_is_open(self):
        ganger = self.ganger
        asked = ganger.ask("ask", 1)
        ganger.send({"$sync": {"n": 8}})
        self.assertIn("$hello", ganger.next())
        self.assertEqual(ganger.next(), ganger.subscribed)
        heard = [ganger.next(), ganger.next()]
        self.assertIn({"$g": "open", "ids": [asked["id"]]}, heard)
        self.assertIn({"$g": "publish", "topic": "gap", "payload": None}, heard)

    def test_topics_are_heard_in_order_and_taken(self):
        ganger = self.ganger
        self.assertEqual(ganger.subscribed, {"$g": "subscribe", "topic": "t.*", "window": 4})
        for n in (1, 2):
            ganger.send({"$g": "message", "topic": "t.a", "pattern": "t.*", "from": "x#1", "payload": n})
        ganger.send({"$g": "gap", "topic": "t.*", "missed": 5})
        said = [ganger.next() for _ in range(4)]
        self.assertEqual(
            said,
            [
                {"$g": "publish", "topic": "heard", "payload": ["t.a", 1]},
                {"$g": "publish", "topic": "heard", "payload": ["t.a", 2]},
                {"$g": "took", "topic": "t.*", "n": 2},
                {"$g": "publish", "topic": "gap", "payload": 5},
            ],
        )

    def test_bodies_are_sealed_memory(self):
        ganger = self.ganger
        for what, sizes in (("bytes", [0, 9]), ("payload", [7, 0])):
            fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
            os.write(fd, b'"1234567"')
            fcntl.fcntl(fd, 1033, 0xF)
            words = {"$g": "request", "id": "7.1", "kind": "size", "body": {"size": 9, "is": what}}
            ganger.send(words, fd, "ganger.memfd")
            os.close(fd)
            self.assertEqual(ganger.next()["result"], sizes)
        words = ganger.ask("large", 2_000_000)
        self.assertEqual((words["cmd"], words["type"]), ("NODE_HANDLE", "ganger.memfd"))
        self.assertEqual(words["msg"]["body"], {"size": 2_000_002, "is": "payload"})
        (fd,) = ganger.fds
        self.assertEqual(fcntl.fcntl(fd, 1034) & 0xE, 0xE, "sealed against writing, shrinking, growing")
        self.assertEqual(os.fstat(fd).st_size, 2_000_002)
        os.close(fd)

    def test_sockets_are_taken_and_given(self):
        ganger = self.ganger
        mine, theirs = socket.socketpair()
        ganger.send({"$g": "request", "id": "7.1", "kind": "take", "payload": "hello"}, theirs.fileno())
        self.assertEqual(ganger.next()["result"], "took")
        self.assertEqual(mine.recv(100), b"hello")
        asked = ganger.ask("give")
        self.assertEqual((asked["type"], asked["msg"]["kind"]), ("net.Socket", "take"))
        given = socket.socket(fileno=ganger.fds.pop())
        given.sendall(b"thanks")
        ganger.send({"cmd": "NODE_HANDLE_ACK"})
        ganger.send({"$g": "response", "id": asked["msg"]["id"], "result": 1})
        self.assertEqual(ganger.next()["result"], [1, "thanks"])
        for sock in (mine, theirs, given):
            sock.close()

    def test_connections_that_ganger_accepted(self):
        mine, theirs = socket.socketpair()
        mine.sendall(b"get")
        self.ganger.send(None, theirs.fileno())
        theirs.close()
        self.assertEqual(mine.recv(100), b"GET")

    def test_a_connection_is_taken_when_a_thread_is_free(self):
        ganger, threads = self.ganger, 8
        ours = []
        for n in range(threads + 1):
            mine, theirs = socket.socketpair()
            ours.append(mine)
            line = json.dumps({"cmd": "NODE_HANDLE", "type": "net.Socket", "msg": {"$connection": {"n": n}}}).encode() + b"\n"
            ganger.socket.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
            theirs.close()
        for _ in range(threads):
            self.assertEqual(ganger.next(), {"cmd": "NODE_HANDLE_ACK"})
        # Read after the last connection, which no thread has.
        ganger.send({"$g": "message", "topic": "t.1", "pattern": "t.*", "from": "web#1", "payload": 1})
        self.assertEqual(ganger.next()["topic"], "heard")
        ours[0].sendall(b"get")
        self.assertEqual(ours[0].recv(100), b"GET")
        self.assertEqual(ganger.next(), {"cmd": "NODE_HANDLE_ACK"})
        for mine in ours:
            mine.close()
        mine.close()


if __name__ == "__main__":
    unittest.main()
