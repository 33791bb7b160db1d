"""Where a process has no descriptor left: nothing that others hand to it is lost, and the supervisor serves on."""

from __future__ import annotations

import http.client
import re
import signal
from typing import TYPE_CHECKING

from support.held import Held, ask
from support.load import Load
from support.proc import eventually, few_descriptors

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import Server
    from support.site import Site

    Serve = Callable[..., Server]


def test_a_worker_leaves_what_it_has_no_descriptor_for_in_its_inbox(site: Site) -> None:
    held = Held(site, "--workers", "2")
    clients = [http.client.HTTPConnection("127.0.0.1", held.server.port, timeout=10) for _ in range(12)]
    homes = [ask(client)["pid"] for client in clients]
    busy = held.hold()
    [free] = set(held.server.workers()) - {busy}
    with few_descriptors(free):
        movers = [client for client, home in zip(clients, homes, strict=True) if home == busy]
        for client in movers:
            client.request("GET", "/")  # goes to the worker whose thread is free
        held.server.wait_for("taking requests from other workers pauses: Too many open files")
    assert len(movers) > 1
    for client in movers:  # while the other one is still busy
        assert b'"pid": %d' % free in client.getresponse().read()
    for client in clients:
        client.close()
    held.close()
    assert "is lost" not in held.server.log


def test_a_stop_does_not_lose_what_lies_in_the_inbox_of_such_a_worker(site: Site) -> None:
    held = Held(site, "--workers", "2", "--timeout", "0")
    clients = [http.client.HTTPConnection("127.0.0.1", held.server.port, timeout=10) for _ in range(12)]
    homes = [ask(client)["pid"] for client in clients]
    busy = held.hold()
    [free] = set(held.server.workers()) - {busy}
    movers = [client for client, home in zip(clients, homes, strict=True) if home == busy]
    with few_descriptors(free):
        for client in movers:
            client.request("GET", "/")
        held.server.wait_for("taking requests from other workers pauses")
        held.server.signal(signal.SIGTERM)
        held.server.wait_for("stopping")
    held.release()
    for client in movers:
        assert client.getresponse().read()
    for client in clients:
        client.close()
    held.close()
    assert held.server.exit_code() == 0


def test_a_supervisor_that_cannot_make_one_more_worker_serves_on(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "1")
    with Load(server.port, clients=8) as load:
        for free in range(7):
            begun = server.log.count("a worker more")
            with few_descriptors(server.pid, free):
                server.signal(signal.SIGTTIN)
                server.wait_for("one more cannot be started|a worker more", count=free + 1)
            if server.log.count("a worker more") > begun:  # it may have to be tried again
                server.wait_for("serves .ready", count=begun + 2)
            load.wait_for(50)
        tally = load.stop()
    assert not tally.lost, tally
    refused = server.log.count("one more cannot be started: cannot make a shard's inbox: Too many open files")
    assert refused == 2, "an inbox is two descriptors"
    assert server.log.count("one more cannot be started") > refused, "neither listener nor program"
    wanted = 1 + server.log.count("a worker more")
    assert wanted > 1
    assert len(server.workers()) == wanted
    eventually("all answer", lambda: len({server.get_json()["pid"] for _ in range(40)}) == wanted)


def test_a_sibling_that_cannot_stand_in_for_a_shard_does_so_later(serve: Serve) -> None:
    server = serve("probe:asgi", "--workers", "2", "--steering", "hash")
    stays = next(pid for pid in server.workers() if re.search(rf"shard 0: worker {pid} serves", server.log))
    with few_descriptors(stays):
        server.signal(signal.SIGTTOU)
        server.wait_for(r"cannot obey the supervisor \(adopt\): no descriptor left")
    eventually("one worker is left", lambda: server.workers() == [stays])
    with Load(server.port, clients=8, requests=40) as load:  # half of them come to the parked shard
        tally = load.finish()
    assert tally.ok == 40, tally
