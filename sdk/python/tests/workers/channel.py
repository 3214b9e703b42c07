"""A service for test_channel.py."""

import socket
import time

from ganger import RequestError, channel

ch = channel()


@ch.on("add")
def add(payload, request):
    return [request.sender, sum(payload)]


@ch.on("fail")
def fail(payload, request):
    raise KeyError("nothing")


@ch.on("wait")
def wait(payload, request):
    return request.cancelled.wait(60)


@ch.on("size")
def size(payload, request):
    return [len(payload or ""), len(request.body or b"")]


@ch.on("large")
def large(payload, request):
    return "x" * payload


@ch.on("ask")
def ask(payload, request):
    try:
        return ch.request("other", "k", payload, timeout=30)
    except RequestError as why:
        return [why.code, str(why)]


@ch.on("call off")
def call_off(payload, request):
    return ch.ask("other", "k").cancel()


@ch.on_handle("take")
def take(sock, payload, request):
    sock.sendall(payload.encode())
    sock.close()
    return "took"


@ch.on("give")
def give(payload, request):
    mine, theirs = socket.socketpair()
    answer = ch.send_handle("other", "take", theirs)
    theirs.close()
    return [answer, mine.recv(100).decode()]


@ch.on_connection
def connected(sock, said):
    sock.sendall(sock.recv(100).upper())
    sock.close()


def heard(payload, message):
    ch.publish("heard", [message.topic, payload])


ch.subscribe("t.*", heard, window=4, on_gap=lambda missed: ch.publish("gap", missed))
ch.ready()
ch.run()
