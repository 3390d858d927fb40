"""Whatever happens in whatever order: what is needed is never gone, and nothing goes without a word."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from fileserver.core.settings import parse_settings
from fileserver.services import build_services
from fileserver.storage.holding import HoldingArea
from tests.maintenance.model import SUBMISSIONS, TRASH_DAYS, World
from tests.storage.crashes import DIED, arm
from tests.storage.sources import settings_for
from tests.support.messages import sha1

CONTENTS = [b"one", b"two", b"three"]
STEPS = 120
contents = st.sampled_from(CONTENTS)
numbers = st.integers(0, 1)
versions = st.binary(min_size=1, max_size=3)


class Retention(RuleBasedStateMachine):
    """An API server, workers, and an admin, at work on one directory."""

    keep_lists = Bundle("keep_lists")

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="gc-model-"))
        self.world = World(self.root, build_services(parse_settings(settings_for(self.root))))

    def teardown(self) -> None:
        with closing(self.world.services):
            shutil.rmtree(self.root)

    @initialize()
    def begin(self) -> None:
        for number, content in enumerate(CONTENTS):
            self.world.upload(content)
            self.store("submit" if number else "put_result", number % 2, content)
        self.world.pass_days(1.5)

    @rule(what=st.sampled_from(["upload", "ask", "ask", "read", "refer", "refer", "forget"]), content=contents)
    def need(self, what: str, content: bytes) -> None:
        getattr(self.world, what)(content)

    @rule(what=st.sampled_from(["submit", "put_result", "fetch_archive"]), number=numbers, content=versions)
    def store(self, what: str, number: int, content: bytes) -> None:
        getattr(self.world, what)(number, content)

    @rule(days=st.sampled_from([0.3, 0.9, 1.1, 1.9, 2.2, 3.3, 6]))
    def pass_days(self, days: float) -> None:
        self.world.pass_days(days)

    @rule(target=keep_lists)
    def make_keep_list(self) -> tuple[frozenset[bytes], float]:
        return self.world.keep_list()

    @rule(kept=keep_lists)
    def collect_with_a_list_that_may_be_old(self, kept: tuple[frozenset[bytes], float]) -> None:
        self.collect(kept)

    @rule(days=st.sampled_from([0, 2.2, 4.4]))
    def collect_with_a_new_list(self, days: float) -> None:
        self.world.pass_days(days)
        self.collect(self.world.keep_list())

    def collect(self, kept: tuple[frozenset[bytes], float]) -> None:
        before = self.world.files()
        would = list(self.world.collector(kept, dry_run=True).collect())
        assert self.world.files() == before
        removals = list(self.world.collector(kept).collect())
        assert [(one.bucket, one.key) for one in removals] == [(one.bucket, one.key) for one in would]
        self.world.account(before, removals)

    @rule(days=st.sampled_from([2.2, 6.6]), content=versions, pattern=st.integers(0, 255))
    def collect_while_it_is_used(self, days: float, content: bytes, pattern: int) -> None:
        """What gc is about to take is used, or replaced, in the last moment: those whose bit is in *pattern*."""
        world, take, bits = self.world, HoldingArea.take, itertools.cycle(f"{pattern:08b}")
        used: set[str] = set()

        def late_take(area: HoldingArea, bucket: str, key: str, reason: str, move: Callable[[Path], bool]) -> Any:
            if next(bits) == "1":
                self.use(bucket, key, content)
                used.add(f"{bucket}/{key}")
            return take(area, bucket, key, reason, move)

        world.pass_days(days)
        kept, before = world.keep_list(), world.files()
        HoldingArea.take = late_take  # type: ignore[method-assign]
        try:
            removals = list(world.collector(kept).collect())
        finally:
            HoldingArea.take = take  # type: ignore[method-assign]
        assert used & {f"{removal.bucket}/{removal.key}" for removal in removals} == set()
        world.account(before, removals)

    def use(self, bucket: str, key: str, content: bytes) -> None:
        if bucket == "tasks":
            self.world.ask(next(one for one in CONTENTS if sha1(one) == key))
        elif bucket == "results":
            self.world.put_result(int(key[0]), content)
        else:
            self.world.submit([str(one) for one in SUBMISSIONS].index(key), content)

    @rule(step=st.integers(0, STEPS))
    def collect_and_die(self, step: int) -> None:
        """Another process runs gc, and dies at one of its steps; what it did is found in the trash."""
        world = self.world
        kept, before, taken = world.keep_list(), world.files(), set(world.trashed)
        child = os.fork()
        if not child:
            arm(step)
            list(world.collector(kept).collect())
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (0, DIED)
        present = {name for name, _, _ in world.look_into_trash()}
        for name in taken - present:
            assert world.days - world.trashed.pop(name)[1] > TRASH_DAYS - 0.01
        world.learn_trash()
        explained = {world.trashed[name][0] for name in present - taken}
        assert before.keys() - world.files().keys() == explained
        for name in explained & world.stored.keys():
            del world.stored[name]

    @rule(number=st.integers(0, 99))
    def put_back(self, number: int) -> None:
        if trashed := self.world.trashed:
            # Their names are random, what they are is not.
            names = sorted(trashed, key=lambda name: trashed[name])
            self.world.put_back(names[number % len(names)])

    @invariant()
    def nothing_is_lost(self) -> None:
        self.world.assert_nothing_is_lost()


Retention.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_retention = pytest.mark.slow(Retention.TestCase)
