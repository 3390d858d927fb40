"""The scrub of a running server, and what /readyz tells of it."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.rot import flip_bit
from tests.support.servers import gunicorn_server, wait_until
from tests.support.targets import HttpServer, Server

MEMBERS = {"finished_at", "slice", "files", "bytes_read", "damaged", "unreadable", "seconds"}
ENV = {"FILESERVER_SCRUB_EVERY_HOURS": "1", "FILESERVER_SCRUB_SLICES": "2"}


def last_scrub(server: HttpServer) -> dict[str, Any] | None:
    answer = server.get("/readyz")
    assert (answer.status, answer.json()["status"]) == (200, "ready")
    return answer.json()["scrub"]


def scrubbed(server: HttpServer) -> dict[str, Any]:
    assert wait_until(lambda: last_scrub(server) is not None, 20)
    told = last_scrub(server)
    assert told is not None
    return told


def test_without_the_setting_nothing_is_told(server: Server) -> None:
    assert server.get("/readyz").json() == {"status": "ready"}
    assert not (server.directory / "staging" / ".scrub").exists()


@pytest.mark.server
@pytest.mark.parametrize("flags", [[], ["--preload"]], ids=["forked", "preloaded"])
def test_a_server_scrubs_and_goes_on_after_a_restart(tmp_path: Path, flags: list[str]) -> None:
    directory = tmp_path / "work"
    with gunicorn_server(directory) as server:
        for number in range(20):
            assert server.put(f"/results/{number}.zip", b"content").status == 200
    for number in range(20):
        flip_bit(directory / "results" / f"{number}.zip")
    with gunicorn_server(directory, env=ENV, flags=flags) as server:
        first = scrubbed(server)
        assert first.keys() == MEMBERS
        assert first["slice"] == "1/2"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["finished_at"])
        assert first["bytes_read"] == 7 * first["files"]
        assert 0 < first["files"] == first["damaged"] < 20
        assert server.log.read_text().count("scrub: 'results/") == first["damaged"]
        assert server.get("/results/1.zip").status == 200
    with gunicorn_server(directory, env=ENV, flags=flags) as server:
        for _ in range(8):
            assert last_scrub(server) == first
