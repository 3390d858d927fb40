"""Fixtures: services on a working directory of their own, and the watch over open descriptors."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from fileserver.core.settings import parse_settings
from fileserver.grading import submissions as submissions_module
from fileserver.services import Services, build_services
from tests.storage.sources import Bench, MakeServices, settings_for

pytest.register_assert_rewrite("tests.storage.contract")


@pytest.fixture(autouse=True)
def _no_descriptor_is_leaked() -> Iterator[None]:
    """Whatever a test opens through the server, it finds closed in the end, after errors as well."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    after = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}
    assert {fd: target for fd, target in after.items() if fd not in before} == {}


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The working directory."""
    return tmp_path / "work"


@pytest.fixture
def make_services(root: Path, _no_descriptor_is_leaked: None) -> Iterator[MakeServices]:
    """Return a function of the settings' sections that opens the working directory; a second call is a restart."""
    with ExitStack() as opened:

        def make(**sections: dict[str, Any]) -> Services:
            return opened.enter_context(closing(build_services(parse_settings(settings_for(root, **sections)))))

        yield make


@pytest.fixture
def services(make_services: MakeServices) -> Services:
    """The services with default settings."""
    return make_services()


@pytest.fixture
def bench(tmp_path: Path, _no_descriptor_is_leaked: None) -> Iterator[Bench]:
    """The parts of the storage, without services above them."""
    with closing(Bench(tmp_path / "bench")) as made:
        yield made


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids whose archives were built, one for each build."""
    built: list[str] = []
    original = submissions_module.archive_writer

    def counting(folder: Path, open_file: Any, submission_id: str, layout: str) -> Any:
        built.append(submission_id)
        return original(folder, open_file, submission_id, layout)

    monkeypatch.setattr(submissions_module, "archive_writer", counting)
    return built
