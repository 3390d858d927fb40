"""What the proofs in this folder share: how much of them is run, and the counts that are printed at the end."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disks import Disks, why_not
from tests.crash.tracing import why_not_possible
from tests.crash.victims import Victim, running_victim
from tests.support.gaps import not_possible

COUNTS = pytest.StashKey[Counter[str]]()
GAPS = pytest.StashKey[list[str]]()


class Tally:
    """What was proven: counted as it happens, printed at the end of the session."""

    def __init__(self, config: pytest.Config) -> None:
        self._counts = config.stash.setdefault(COUNTS, Counter())
        self._gaps = config.stash.setdefault(GAPS, [])

    def add(self, what: str, number: int = 1) -> None:
        """Count *number* more of *what*, such as "cut points"."""
        self._counts[what] += number

    def not_proven(self, what: str) -> None:
        """Tell loudly, at the end, that this machine does not allow *what* to be proven."""
        self._gaps.append(what)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts what a test has proven."""
    return Tally(request.config)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the whole proof is to be run (``make test-crash``), not its short version (``make test``)."""
    return request.config.getoption("--proof") == "full"


@pytest.fixture(scope="module")
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A server that can be made to fail at any call; where that is not allowed, as with `disks`."""
    if (reason := why_not_possible()) is not None:
        gap = f"cut points, injected errors: processes cannot be traced here ({reason})"
        Tally(request.config).not_proven(gap)
        not_possible(gap)
    with running_victim(tmp_path_factory.mktemp("victim")) as running:
        yield running


@pytest.fixture(scope="session")
def loop_devices(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """Why file systems cannot be mounted on loop devices here, None if they can."""
    return why_not(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def disks(loop_devices: str | None, tmp_path: Path, tally: Tally) -> Iterator[Disks]:
    """Makes small file systems; where that is not allowed the test is skipped, loudly, or fails if CI is set."""
    if loop_devices is not None:
        gap = f"power cuts, full disks: loop devices are not allowed here ({loop_devices})"
        tally.not_proven(gap)
        not_possible(gap)
    made = Disks(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    result = yield
    counts, gaps = config.stash.get(COUNTS, Counter()), config.stash.get(GAPS, [])
    if counts or gaps:
        terminalreporter.section("nothing acknowledged is lost")
    for what, number in sorted(counts.items()):
        terminalreporter.line(f"{number:>9,} {what}")
    for gap in dict.fromkeys(gaps):
        terminalreporter.line(f"NOT PROVEN HERE: {gap}", red=True)
    return result
