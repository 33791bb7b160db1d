"""Reloading: a new generation takes the shards over one by one, ready first; and replacing a single worker so.

A generation that does not start changes nothing: the workers before go on serving, and the cause is logged. If only a
later one of its workers fails, the shards that are done stay, and the log says so.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from shardserve.config.cpus import choose_workers
from shardserve.config.memory import free_memory
from shardserve.errors import AppError, ConfigError, ShardserveError
from shardserve.logs import log, set_up_logging
from shardserve.net.listener import close_all
from shardserve.worker.recycle import resident_octets

if TYPE_CHECKING:
    from collections.abc import Callable

    from shardserve.config.settings import Config
    from shardserve.supervisor.child import Child
    from shardserve.supervisor.shard import Shard
    from shardserve.supervisor.sharding import Sharding

_SOCKETS_MAX = 200  # in one message


class Reloads:
    """Which configuration and generation a shard's next worker gets, and whose turn it is.

    `config` and `generation` are those in force: a reload's take their place when its first worker is ready. `reread`
    resolves the configuration again; `replace` starts a worker on a shard, with what `for_shard` says; `scale_to` sets
    the number of workers; `make_room` has a shard's worker leave before it is replaced;
    `rebound` is told when the listeners have changed.
    """

    def __init__(
        self,
        config: Config,
        sharding: Sharding,
        shards: list[Shard],
        reread: Callable[[], Config],
        replace: Callable[[Shard], None],
        scale_to: Callable[[int], None],
        make_room: Callable[[Shard], None],
        rebound: Callable[[], None],
    ) -> None:
        self.config = config
        self.generation = 1
        self._sharding = sharding
        self._shards = shards
        self._reread = reread
        self._replace = replace
        self._scale_to = scale_to
        self._rebound = rebound
        self._change = 0  # workers more that were asked for during it
        self._count: int | None = None  # workers there are to be after it, where that changes
        self._make_room = make_room
        self._latest = 1  # the last generation number given out
        self._next: Config | None = None  # the configuration of the reload under way
        self._proven = False  # one of its workers has become ready
        self._to_do: deque[int] = deque()  # shards it has not finished with; the first is being replaced
        self._awaited: Child | None = None  # the worker that has to leave before the next shard's turn
        self._asked_again = False
        self._retiring: list[tuple[Child, str]] = []  # workers that asked to be replaced during a reload
        self._last_trace = ""

    @property
    def under_way(self) -> bool:
        """Whether a reload is going on."""
        return self._next is not None

    @property
    def generations(self) -> set[int]:
        """Those of which workers may be started."""
        return {self.generation, self._latest} if self.under_way else {self.generation}

    def for_shard(self, shard: Shard) -> tuple[Config, int]:
        """Configuration and generation of the next worker of a shard."""
        if self._next is not None and self._is_turn_of(shard):
            return self._next, self._latest
        return self.config, self.generation

    def begin(self, may_begin: bool = True) -> None:
        """Reload, or remember to once the one under way (or the start, if not `may_begin`) is over."""
        if self.under_way or not may_begin:
            self._asked_again = True
            booting = self._shards[self._to_do[0]].incoming if self._to_do else None
            if booting is not None and self.config.reload:
                # A developer's mended import must not wait for a hanging one.
                booting.kill("the files have changed again")
            return
        try:
            config = self._reread()
            if config.workers == 0:
                raise ConfigError("--workers 0 is for a start without a supervisor")
            if config.bind != self.config.bind:
                self._sharding.rebind(config, self._latest + 1)
        except ShardserveError as error:
            log.error("reload refused, generation %d goes on serving: %s", self.generation, error)
            return
        old = self.config
        if (config.backlog, config.steering) != (old.backlog, old.steering):
            log.warning("changes to backlog and steering take effect at the next start")
        self._count = choose_workers(config.workers)[0] if config.workers != old.workers else None
        set_up_logging(config.log_level)
        self._latest += 1
        self._next, self._proven = config, False
        self._to_do.extend(shard.index for shard in self._shards if not shard.parked)
        log.info("reload: generation %d, one worker at a time", self._latest)
        self._go_on()

    def retire(self, child: Child, reason: str) -> None:
        """Replace one worker, ready first; during a reload its turn comes after it, if that has not replaced it.

        Where memory has no room for one more worker of its size, it leaves first, one at a time, while siblings serve
        for it; with nobody else to serve only ready first remains.
        """
        shard = self._shards[child.shard]
        if self.under_way:
            self._retiring.append((child, reason))
        elif child is shard.current and shard.incoming is None:
            others = [other for other in self._shards if other is not shard]
            free, needed = free_memory(), resident_octets(child.pid)
            tight = free is not None and free < needed
            if tight and any(other.making_room for other in others):
                return  # it asks again
            log.info("shard %d: worker %d %s and is replaced", shard.index, child.pid, reason)
            if tight and any(other.moves for other in others):
                log.info("shard %d: it leaves first: no room for one more in %.0f MB", shard.index, (free or 0) / 1e6)
                self._make_room(shard)
            else:
                self._replace(shard)

    def scale_by(self, change: int) -> None:
        """So many workers more (or fewer, if negative); after the reload, if one goes on."""
        if self.under_way:
            self._change += change
        else:
            self._scale_to(sum(not shard.parked for shard in self._shards) + change)

    def finish(self) -> None:
        """The reload (or the start) is over, well or not: what waited for that gets its turn."""
        if self._next is not None and not self._proven:
            close_all(self._sharding.revoke())
        self._next = self._awaited = None
        self._to_do.clear()
        retiring, self._retiring = self._retiring, []
        for child, reason in retiring:
            self.retire(child, reason)
        change, self._change = self._change, 0
        if change:
            self.scale_by(change)
        if self._asked_again:
            self._asked_again = False
            self.begin()

    # What the supervisor sees happen

    def became_ready(self, child: Child, replaced: Child | None) -> None:
        """A worker is ready; `replaced` is the one it took over from, which leaves now."""
        if self._next is not None and child.generation == self._latest:
            if not self._proven:
                self._proven = True
                self.config, self.generation = self._next, self._latest
                self._share_listeners()
            if self._is_turn_of(self._shards[child.shard]):
                self._awaited = replaced
                if replaced is None:
                    self._advance()

    def left(self, child: Child) -> None:
        """A worker that was leaving has left, or has only streams left: with it, the shard's turn is over."""
        if child is self._awaited:
            self._awaited = None
            if self._shards[child.shard].current is not None:  # else once the shard has somebody
                self._advance()

    def failed_to_boot(self, shard: Shard, child: Child, error: AppError) -> bool:
        """A worker did not become ready. Returns whether that was the reload's business and has been dealt with."""
        if not self._is_turn_of(shard):
            return False
        if child.generation != self._latest:
            self._go_on()  # it was ended to make room for the reload's
            return True
        if self._proven and shard.current is None:
            return False  # the generation is good and the shard has nobody: it has to be tried again
        self.log_failure(f"reload failed: generation {self._latest} did not start on shard {shard.index}", error)
        done = self._proven and len(self._shards) - len(self._to_do)
        if done:
            log.error(
                "generation %d serves on %d shards, the one before on the rest; HUP tries again", self._latest, done
            )
        else:
            log.error("generation %d goes on serving", self.generation)
        self.finish()
        return shard.current is not None or shard.incoming is not None

    def parked(self, shard: Shard) -> None:
        """A shard does without a worker from now on, so that it has no turn."""
        if self._is_turn_of(shard):
            self._advance()
        elif shard.index in self._to_do:
            self._to_do.remove(shard.index)

    def log_failure(self, what: str, error: AppError) -> None:
        """Log why a worker did not start; the same traceback is shown once."""
        if error.trace and error.trace == self._last_trace:
            log.error("%s: %s (as before)", what, error)
        else:
            log.error("%s: %s%s", what, error, "\n" + error.trace.rstrip() if error.trace else "")
        self._last_trace = error.trace

    def _share_listeners(self) -> None:
        """The addresses that the reload adds will stay, so the workers before it serve them as well."""
        added = self._sharding.confirm()
        if added:
            for shard in self._shards:
                for child in shard.accepting():
                    if child.generation < self._latest:
                        message = {"command": "listen", "sharded": [group.sharded for group in added]}
                        child.channel.send(message, [group.listener(shard.index).socket for group in added])
            self._rebound()

    def _give_up_listeners(self) -> None:
        """Addresses that are not asked for any more: what waits there is answered by one worker, then they are gone."""
        over = self._sharding.discard(self.config.bind)
        if not over:
            return
        self._rebound()
        workers = [child for shard in self._shards for child in shard.accepting()]
        heir = next((shard.current for shard in self._shards if shard.current is not None), None)
        for group in over:
            log.info("no longer listening on %s", group.address.url)
            group.remove_path()  # nobody finds a unix socket any more
            if heir is not None:
                for first in range(0, len(group.sockets), _SOCKETS_MAX):
                    heir.channel.send({"command": "inherit"}, group.sockets[first : first + _SOCKETS_MAX])
            for worker in workers:
                worker.channel.send({"command": "part", "inodes": group.inodes()})
        close_all(over)

    def _is_turn_of(self, shard: Shard) -> bool:
        return bool(self._to_do) and self._to_do[0] == shard.index

    def _advance(self) -> None:
        self._to_do.popleft()
        self._go_on()

    def _go_on(self) -> None:
        if not self._to_do:
            log.info("reload complete: generation %d serves", self.generation)
            count, self._count = self._count, None
            self._give_up_listeners()
            self.finish()
            if count is not None:
                self._scale_to(count)
            return
        shard = self._shards[self._to_do[0]]
        if shard.incoming is not None:  # a replacement is on its way with the old configuration: take its place
            shard.incoming.kill("a reload takes its place")
        else:
            self._replace(shard)
