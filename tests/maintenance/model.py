"""What the world knows of a fileserver: what the API server needs, what it was promised, and what must not be lost."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fileserver.core.errors import NotFound
from fileserver.core.names import Sha1, SubmissionId
from fileserver.core.sections import RetentionSettings
from fileserver.maintenance.gc import Collector
from fileserver.maintenance.keep_list import KeepList
from fileserver.maintenance.removals import Removal
from fileserver.maintenance.trash import Occupied, restore
from fileserver.services import Services
from tests.storage.sources import files, incoming, read_all
from tests.storage.submitting import store
from tests.support.ageing import age
from tests.support.messages import sha1

GRACE_DAYS, SUBMISSION_DAYS, RESULT_DAYS, TRASH_DAYS, ARCHIVE_DAYS = 3, 6, 4, 5, 2
RULES = RetentionSettings(
    archive_days=ARCHIVE_DAYS,
    submission_days=SUBMISSION_DAYS,
    result_days=RESULT_DAYS,
    task_file_grace_days=GRACE_DAYS,
    trash_days=TRASH_DAYS,
)
PROMISE_DAYS = GRACE_DAYS - 1
"""How long the API server may take to reference what it was told is there: uses are noted to the day."""

SUBMISSIONS = [SubmissionId("one"), SubmissionId("two")]


def peek(path: Path) -> bytes:
    """The content of a file, read without that being a use of it."""
    with open(os.open(path, os.O_RDONLY | os.O_NOATIME), "rb") as file:
        return file.read()


@dataclass
class World:
    """The services, and what those who use them remember. Times are days on a clock that *pass_days* moves on."""

    root: Path
    services: Services
    days: float = 0
    promised: dict[bytes, float] = field(default_factory=dict)
    referenced: set[bytes] = field(default_factory=set)
    stored: dict[str, tuple[float, bytes]] = field(default_factory=dict)
    """Results and submissions by `<bucket>/<key>`: when they were stored, and what."""
    trashed: dict[str, tuple[str, float, bytes]] = field(default_factory=dict)
    """What lies in the trash by its name there: what it was, when it was taken, and its bytes."""

    def pass_days(self, days: float) -> None:
        age(self.root, days)
        self.days += days

    def upload(self, content: bytes) -> None:
        self.services.task_files.store(files({"file": content}))
        self.promised[content] = self.days

    def ask(self, content: bytes) -> None:
        if not self.services.task_files.missing([Sha1(sha1(content))]):
            self.promised[content] = self.days

    def read(self, content: bytes) -> None:
        try:
            assert read_all(self.services.task_files.open(Sha1(sha1(content)))) == content
        except NotFound:
            return
        self.promised[content] = self.days

    def is_promised(self, content: bytes) -> bool:
        return content in self.promised and self.days - self.promised[content] < PROMISE_DAYS

    def refer(self, content: bytes) -> None:
        """Let the API server write a reference into its database, if it was told in time that the file is there."""
        if self.is_promised(content):
            self.referenced.add(content)

    def forget(self, content: bytes) -> None:
        """Let the last exercise that needs the file be deleted."""
        self.referenced.discard(content)

    def keep_list(self) -> tuple[frozenset[bytes], float]:
        return frozenset(bytes.fromhex(sha1(content)) for content in self.referenced), self.days

    def submit(self, number: int, content: bytes) -> None:
        store(self.services, {"a": content}, SUBMISSIONS[number])
        self.stored[f"submissions/{SUBMISSIONS[number]}"] = (self.days, content)

    def fetch_archive(self, number: int, content: bytes) -> None:
        if f"submissions/{SUBMISSIONS[number]}" in self.stored:
            self.services.submissions.open_archive(SUBMISSIONS[number].archive_name).close()

    def put_result(self, number: int, content: bytes) -> None:
        self.services.results.store(f"{number}.zip", incoming(content))
        self.stored[f"results/{number}.zip"] = (self.days, content)

    def collector(self, kept: tuple[frozenset[bytes], float] | None, *, dry_run: bool = False) -> Collector:
        services = replace(self.services, settings=replace(self.services.settings, retention=RULES))
        keep = kept and KeepList(kept[0], time.time_ns() - int((self.days - kept[1]) * 86_400 * 10**9))
        return Collector(services, time.time_ns(), keep or None, dry_run=dry_run)

    def files(self) -> dict[str, bytes]:
        """All that is stored by `<bucket>/<key>`, but for archives."""
        paths = {f"results/{path.name}": path for path in self.root.glob("results/*")}
        paths |= {f"tasks/{path.name}": path for path in self.root.glob("tasks/*/*")}
        paths |= {f"submissions/{path.parent.name}": path for path in self.root.glob("submissions/*/a")}
        return {name: peek(path) for name, path in paths.items()}

    def look_into_trash(self) -> Iterator[tuple[str, str, bytes]]:
        for held in self.services.trash.held():
            path = held.path / "a" if held.path.is_dir() else held.path
            yield held.name, f"{held.note.bucket}/{held.note.key}", peek(path)

    def learn_trash(self) -> None:
        """Remember what has come into the trash."""
        for name, what, content in self.look_into_trash():
            self.trashed.setdefault(name, (what, self.days, content))

    def put_back(self, name: str) -> None:
        what, _, content = self.trashed[name]
        is_free = what not in self.files()
        try:
            restore(self.services, self.services.trash, name)
        except Occupied:
            assert not is_free
            return
        assert is_free
        assert self.files()[what] == content
        del self.trashed[name]
        if not what.startswith("tasks/"):
            self.stored[what] = (self.days, content)

    def account(self, before: dict[str, bytes], removals: list[Removal]) -> None:
        """Nothing has gone but what was told, and what was told has."""
        gone = {f"{removal.bucket}/{removal.key}" for removal in removals}
        assert [removal.error for removal in removals] == [""] * len(removals)
        assert before.keys() - self.files().keys() == {name for name in gone if name in before}
        for name in gone & self.stored.keys():
            del self.stored[name]
        expired = {name for name in self.trashed if f"trash/{name}" in gone}
        assert all(self.days - self.trashed.pop(name)[1] > TRASH_DAYS - 0.01 for name in expired)
        self.learn_trash()

    def assert_nothing_is_lost(self) -> None:
        found = self.files()
        for content in self.referenced | {one for one in self.promised if self.is_promised(one)}:
            assert found.get(f"tasks/{sha1(content)}") == content
        for name, (_, content) in self.stored.items():
            assert found[name] == content
        assert {name: (what, content) for name, what, content in self.look_into_trash()} == {
            name: (what, content) for name, (what, _, content) in self.trashed.items()
        }
