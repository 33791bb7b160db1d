"""What is in asyncio's set of all tasks, added by a WeakSet itself or by a Registry in its place."""

from __future__ import annotations

import asyncio
import gc
from weakref import WeakSet

import pytest

from shardserve.worker.registry import Registry, hasten


class Thing:
    """Stands in for a task: the set does not ask what it holds."""


@pytest.fixture(params=["its own", "a registry's"])
def things(request: pytest.FixtureRequest) -> WeakSet[Thing]:
    made: WeakSet[Thing] = WeakSet()
    if request.param == "a registry's":
        vars(made)["add"] = Registry(made).add
    return made


def test_what_has_been_added_is_there_until_it_dies(things: WeakSet[Thing]) -> None:
    one, two = Thing(), Thing()
    things.add(one)
    things.add(one)
    things.add(two)
    assert set(things) == {one, two}
    assert len(things) == 2
    del one
    gc.collect()
    assert list(things) == [two]
    things.discard(two)
    assert not things


def test_what_dies_during_an_iteration_is_taken_out_behind_it(things: WeakSet[Thing]) -> None:
    kept = [Thing() for _ in range(10)]
    for thing in kept:
        things.add(thing)
    seen = 0
    for thing in things:
        seen += 1
        del thing
        kept.clear()  # all others die here, and the set must not change its size
    assert seen == 1
    assert len(things) == 0
    later = Thing()
    things.add(later)
    assert list(things) == [later]
    assert len(things.data) == 1


def test_asyncio_still_knows_every_task() -> None:
    hasten()

    async def main() -> None:
        gate = asyncio.Event()
        tasks = {asyncio.create_task(gate.wait()) for _ in range(3)}
        assert asyncio.all_tasks() == {*tasks, asyncio.current_task()}
        gate.set()
        await asyncio.gather(*tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
