"""Each test is a scripted ganger at the other end of a socketpair."""

import json
import os
import socket
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = str(HERE / "workers" / "kinds.py")
ENV = {**os.environ, "PYTHONPATH": str(HERE.parent)}
DEADLINE_S = 60


class Parent:
    def __init__(self, *args, script=SCRIPT, more={}):
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(DEADLINE_S)
        fd = theirs.fileno()
        env = {**ENV, **more, "GANGER_CHANNEL_FD": str(fd), "NODE_CHANNEL_FD": str(fd)}
        command = [sys.executable, script, *args]
        self.child = subprocess.Popen(command, env=env, pass_fds=[fd], stdout=subprocess.PIPE)
        theirs.close()
        self.reader = self.socket.makefile("rb")
        self.heard = []
        self.lines = 0
        self.early = []
        while "$hello" not in (said := self.next()):
            self.early.append(said)
        self.hello = said["$hello"]

    def send(self, message):
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def next(self):
        while not self.heard:
            line = self.reader.readline()
            if not line:
                raise AssertionError("the worker closed its end")
            said = json.loads(line)
            self.lines += 1
            self.heard += said if isinstance(said, list) else [said]
        return self.heard.pop(0)

    def ask(self, kind, payload=None):
        self.send(task(kind, kind, payload))
        return self.next()

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        return self.leave()

    def leave(self):
        status = self.child.wait(DEADLINE_S)
        self.reader.close()
        self.socket.close()
        self.child.stdout.close()
        return status


def task(id, kind, payload=None):
    return {"id": id, "kind": kind, "payload": payload, "attempt": 2, "queue": "q", "token": "1.7"}


class ChannelTest(unittest.TestCase):
    def parent(self, *args, **more):
        parent = Parent(*args, **more)
        self.addCleanup(parent.child.wait)
        self.addCleanup(parent.child.kill)
        return parent

    def test_words_of_others_come_over_the_same_channel(self):
        script = str(HERE / "workers" / "peer.py")
        parent = self.parent(script=script, more={"GANGER_PEERS": "lines"})
        subscribe = {"$g": "subscribe", "topic": "t.*", "window": 4}
        self.assertEqual(parent.early, [subscribe])
        # A task waits for another service's answer; meanwhile it is asked itself.
        parent.send(task("1", "ask", {"w": 3}))
        asked = parent.next()
        id = asked.pop("id")
        expected = {"$g": "request", "to": "images", "kind": "resize", "timeout_ms": 30000, "payload": {"w": 3}}
        self.assertEqual(asked, expected)
        parent.send({"$g": "request", "id": "7.1", "from": "web#1", "kind": "add", "payload": [1, 2]})
        self.assertEqual(parent.next(), {"$g": "response", "id": "7.1", "result": ["web#1", 3]})
        parent.send({"$g": "request", "id": "7.2", "from": "web#1", "kind": "bytes"})
        self.assertIn("no bytes", parent.next()["error"]["message"])
        parent.send({"$g": "message", "topic": "t.1", "pattern": "t.*", "from": "web#1", "payload": 4})
        heard = {"$g": "publish", "topic": "heard", "payload": ["t.1", 4]}
        self.assertEqual(parent.next(), heard)
        parent.send({"$sync": {"n": 9}})
        self.assertEqual(parent.next()["$sync"], {"n": 9, "running": ["1"], "done": []})
        self.assertEqual(parent.next(), subscribe)
        self.assertEqual(parent.next(), {"$g": "open", "ids": [id]})
        parent.send({"$g": "response", "id": id, "result": "small"})
        self.assertEqual(parent.next(), {"id": "1", "result": "small"})
        self.assertEqual(parent.end(), 0)

    def test_results_come_back_and_the_process_ends_with_the_channel(self):
        parent = self.parent()
        self.assertEqual(
            parent.hello,
            {"sdk": "python", "version": "0.1.0", "concurrency": 1, "batch": True, "ping": True},
        )
        payload = {"a": [1, None, "é\n😀"]}
        self.assertEqual(parent.ask("echo", payload), {"id": "echo", "result": payload})
        # One at a time means: on the main thread, where signals and most libraries feel at home.
        about = ["about", "about", "q", 2, "1.7", "MainThread"]
        self.assertEqual(parent.ask("about")["result"], about)
        self.assertEqual(parent.ask("later", 5)["result"], 5)
        self.assertEqual(parent.ask("prints")["result"], "unset")
        self.assertEqual(parent.child.stdout.readline(), b"a log line\n")
        self.assertEqual(parent.end(), 0)

    def test_words_carry_the_token_and_stop_with_the_answer(self):
        parent = self.parent()
        said = {"id": "words", "token": "1.7"}
        self.assertEqual(parent.ask("words"), {**said, "log": "first"})
        self.assertEqual(parent.next(), {**said, "progress": 10, "message": "begun"})
        self.assertEqual(parent.next(), {**said, "log": "{'n': 1}"})
        self.assertEqual(parent.next(), {"id": "words", "result": 1})
        self.assertEqual(parent.ask("late"), {"id": "late", "result": 2})
        self.assertEqual(parent.ask("crash"), {"id": "crash", "token": "1.7", "log": "a"})
        self.assertEqual(parent.next()["log"], "b\nc")
        self.assertEqual(parent.leave(), -9)

    def test_errors_tell_class_message_stack_and_whether_to_try_again(self):
        parent = self.parent()
        error = parent.ask("throws")["error"]
        self.assertEqual((error["class"], error["message"]), ("KeyError", "'boom'"))
        self.assertIn("ValueError: deep", error["stack"])
        self.assertIn("kinds.py", error["stack"])
        self.assertNotIn("retryable", error)
        self.assertIs(parent.ask("never")["error"]["retryable"], False)
        self.assertEqual(parent.ask("not-now")["error"]["retry_after_s"], 2.5)
        unknown = parent.ask("what")["error"]
        self.assertIn("no handler for kind 'what'; it has: echo, about", unknown["message"])
        self.assertIs(unknown["retryable"], False)
        for kind in ["object", "nan"]:
            self.assertIn("can't be written as JSON", parent.ask(kind)["error"]["message"])
        self.assertEqual(parent.ask("echo", 1)["result"], 1)
        parent.end()

    def test_arrays_go_both_ways_in_order(self):
        parent = self.parent()
        count, chunk = 20_000, 250
        for at in range(0, count, chunk):
            parent.send([task(f"t{n}", "echo", n) for n in range(at, at + chunk)])
            parent.send({"$ack": 0})
            for n in range(at, at + chunk):
                self.assertEqual(parent.next(), {"id": f"t{n}", "result": n})
        self.assertLess(parent.lines, count / 10)
        parent.end()

    def test_sync_is_answered_while_a_task_runs(self):
        parent = self.parent()
        for n in [1, 2, 3]:
            parent.send(task(f"done{n}", "echo", n))
            self.assertEqual(parent.next()["result"], n)
        parent.send([{"$ack": 1}, task("a", "until-cancelled"), task("b", "echo"), task("c", "echo")])
        self.assertEqual(parent.next(), {"id": "a", "token": "1.7", "progress": "begun"})
        parent.send({"$ping": 7})
        self.assertEqual(parent.next(), {"$pong": 7})
        parent.send({"$sync": {"n": 9}})
        done = [{"id": "done2", "result": 2}, {"id": "done3", "result": 3}]
        answer = {"n": 9, "running": ["a", "b", "c"], "done": done}
        self.assertEqual(parent.next(), {"$sync": answer})
        # The new session counts from its own start.
        parent.send([{"$ack": 2}, {"$cancel": "b"}])
        cancelled = parent.next()
        self.assertEqual((cancelled["id"], cancelled["error"]["class"]), ("b", "Cancelled"))
        parent.send({"$sync": {"n": 10}})
        again = parent.next()["$sync"]
        self.assertEqual((again["running"], [d["id"] for d in again["done"]]), (["a", "c"], ["b"]))
        parent.send({"$cancel": "a"})
        self.assertEqual(parent.next()["error"]["message"], "noticed")
        self.assertEqual(parent.next()["id"], "c")
        parent.end()

    def test_several_at_once_say_when_they_start(self):
        parent = self.parent("2")
        self.assertEqual(parent.hello["concurrency"], 2)
        parent.send([task("a", "forever"), task("b", "forever"), task("c", "echo", 7)])
        started = sorted(parent.next()["id"] for _ in range(2))
        self.assertEqual(started, ["a", "b"])
        parent.send({"$cancel": "b"})
        cancelled = parent.next()
        self.assertEqual((cancelled["id"], cancelled["error"]["class"]), ("b", "Cancelled"))
        self.assertEqual(parent.next(), {"id": "c", "started": True})
        self.assertEqual(parent.next(), {"id": "c", "result": 7})
        # `a` is cancelled by the end of the channel.
        self.assertEqual(parent.end(), 0)

    def test_drain_ends_when_the_tasks_are_done(self):
        parent = self.parent()
        parent.send([task("x", "later", 1), task("y", "echo", 2), {"$drain": True}])
        self.assertEqual([parent.next()["id"], parent.next()["id"]], ["x", "y"])
        self.assertEqual(parent.leave(), 0)


class OtherWaysTest(unittest.TestCase):
    def run_script(self, env, **options):
        command = [sys.executable, SCRIPT]
        return subprocess.run(command, env=env, capture_output=True, timeout=DEADLINE_S, **options)

    def test_stdio_works_and_printing_does_not_disturb_it(self):
        env = {k: v for k, v in ENV.items() if not k.endswith("CHANNEL_FD")}
        # The end of stdin says that no more tasks will come; those that came are done.
        lines = [task("a", "prints"), [task("b", "echo", "é")]]
        said = "".join(json.dumps(line) + "\n" for line in lines).encode() + b'{"id":"cut'
        done = self.run_script(env, input=said)
        self.assertEqual(done.returncode, 0, done.stderr)
        messages = []
        for line in done.stdout.splitlines():
            one = json.loads(line)
            messages += one if isinstance(one, list) else [one]
        self.assertEqual(messages[0]["$hello"]["sdk"], "python")
        self.assertEqual(
            messages[1:], [{"id": "a", "result": "unset"}, {"id": "b", "result": "é"}]
        )
        self.assertIn(b"a log line", done.stderr)

    def test_a_channel_that_is_gone_is_named_with_the_way_out(self):
        for number, what in [("99", b"not open"), ("0", b"no socket"), ("x", b"not open")]:
            env = {**ENV, "GANGER_CHANNEL_FD": number}
            done = self.run_script(env, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"ChannelError: ganger gave descriptor " + number.encode(), done.stderr)
            self.assertIn(what, done.stderr)
            self.assertIn(b'command = ["python3", "worker.py"]', done.stderr)


class UsageTest(unittest.TestCase):
    def test_wrong_use_is_refused_at_once(self):
        sys.path.insert(0, str(HERE.parent))
        import ganger

        fresh = ganger.Worker()
        with self.assertRaisesRegex(ValueError, "no handler"):
            fresh.run()
        with self.assertRaisesRegex(TypeError, "parentheses"):
            fresh.task(lambda payload, task: None)
        fresh.task("a")(lambda payload, task: None)
        with self.assertRaisesRegex(ValueError, "already"):
            fresh.task("a")(lambda payload, task: None)
        with self.assertRaisesRegex(ValueError, "concurrency"):
            fresh.run(concurrency=0)


if __name__ == "__main__":
    unittest.main()
