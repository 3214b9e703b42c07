"""A worker of a pool that talks with others, for test_worker.py."""

from ganger import channel, worker

ch = channel()


@worker.task("ask")
def ask(payload, task):
    return ch.request("images", "resize", payload, timeout=30)


@ch.on("add")
def add(payload, request):
    return [request.sender, sum(payload)]


@ch.on("bytes")
def send_bytes(payload, request):
    return b"never"


ch.subscribe("t.*", lambda payload, message: ch.publish("heard", [message.topic, payload]), window=4)
worker.run()
