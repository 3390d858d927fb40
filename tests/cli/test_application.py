"""The application: made from a directory, from Settings or from the environment, and run by gunicorn."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from fileserver import create_app
from fileserver.core.errors import SettingsError
from fileserver.core.sections import LimitSettings, StorageSettings
from fileserver.core.settings import Settings
from fileserver.services import Services
from tests.support.checks import archive_files
from tests.support.servers import gunicorn_server


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FILESERVER_")]:
        monkeypatch.delenv(name)


@contextmanager
def application(*source: Any) -> Iterator[Flask]:
    app = create_app(*source)
    services: Services = app.extensions["fileserver"]
    try:
        yield app
    finally:
        services.close()


def assert_works_in(app: Flask, directory: Path) -> None:
    client = app.test_client()
    assert client.put("/results/job.zip", data=b"content").status_code == 200
    assert (directory / "results" / "job.zip").read_bytes() == b"content"


@pytest.mark.parametrize("kind", [str, Path])
def test_an_application_is_made_from_a_directory(tmp_path: Path, kind: type) -> None:
    with application(kind(tmp_path / "new" / "work")) as app:
        assert_works_in(app, tmp_path / "new" / "work")


def test_an_application_is_made_from_a_relative_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with application("work") as app:
        monkeypatch.chdir("/")
        assert_works_in(app, tmp_path / "work")


def test_an_application_is_made_from_settings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILESERVER_MAX_FILE_BYTES", "1")
    settings = Settings(StorageSettings(tmp_path / "work"), LimitSettings(max_file_bytes=7))
    with application(settings) as app:
        assert_works_in(app, tmp_path / "work")
        assert app.test_client().put("/results/job.zip", data=b"content!").status_code == 413


def test_an_application_is_made_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILESERVER_WORKING_DIRECTORY", str(tmp_path / "work"))
    monkeypatch.setenv("FILESERVER_MAX_FILE_BYTES", "7")
    with application() as app:
        assert_works_in(app, tmp_path / "work")
        assert app.test_client().put("/results/job.zip", data=b"content!").status_code == 413


def test_a_directory_wins_over_the_environment_which_gives_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILESERVER_WORKING_DIRECTORY", str(tmp_path / "environment"))
    monkeypatch.setenv("FILESERVER_MAX_FILE_BYTES", "7")
    with application(tmp_path / "given") as app:
        assert_works_in(app, tmp_path / "given")
        assert app.test_client().put("/results/job.zip", data=b"content!").status_code == 413
    assert not (tmp_path / "environment").exists()


def test_without_a_directory_there_is_no_application() -> None:
    with pytest.raises(SettingsError, match="FILESERVER_WORKING_DIRECTORY"):
        create_app()


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0byte", "x" * 300, "dangling", "loop", "loop/below"])
def test_a_directory_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SettingsError, match="working directory"):
        create_app(str(tmp_path / name))


def test_a_directory_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "work").symlink_to("disk")
    with application(tmp_path / "work") as app:
        assert_works_in(app, tmp_path / "disk")
        assert app.test_client().get("/results/job.zip", buffered=True).data == b"content"


def test_two_applications_may_share_a_directory(tmp_path: Path) -> None:
    with application(tmp_path) as first, application(tmp_path) as second:
        assert_works_in(first, tmp_path)
        assert second.test_client().get("/results/job.zip", buffered=True).data == b"content"


@pytest.mark.server
@pytest.mark.parametrize("flags", [[], ["--preload"]], ids=["forked", "preloaded"])
def test_gunicorn_runs_the_application_in_several_processes(tmp_path: Path, flags: list[str]) -> None:
    with gunicorn_server(tmp_path / "work", flags=flags) as server, ThreadPoolExecutor(8) as pool:
        content = {"a.txt": b"a", "dir/b.txt": b"b"}
        answers = list(pool.map(lambda number: server.submit(f"job-{number}", content).status, range(40)))
        assert answers == [200] * 40
        for number in range(40):
            assert archive_files(server, f"job-{number}") == content
        status = server.get("/", {"Accept": "application/json"}).json()
        assert (status["counters"]["submissions"], status["counters"]["submission_archives"]) == (40, 40)
        assert server.transactions() == []
