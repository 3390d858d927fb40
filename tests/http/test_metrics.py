"""/metrics: numbers that are right whichever process is asked, and whatever has become of the others."""

import os
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fileserver.core.sections import MaintenanceSettings
from fileserver.maintenance.scrub import Scrub
from fileserver.web.context import services_of
from tests.maintenance.rot import flip_bit
from tests.support.clients import RawClient
from tests.support.credentials import PEOPLE, write_htpasswd
from tests.support.memory import processes
from tests.support.messages import basic_auth, fresh_id
from tests.support.pool import MakeServer
from tests.support.servers import REPOSITORY, gunicorn_server, kill_process, wait_until
from tests.support.targets import FlaskServer, HttpServer, Server

PUT = {"method": "PUT", "route": "/results/<name>"}

Numbers = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def numbers(server: Server, headers: dict[str, str] | None = None) -> Numbers:
    """What is told, by name and sorted labels."""
    answer = server.get("/metrics", headers or {})
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answer.body.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def number(server: Server, name: str, **labels: str) -> float:
    """One of the numbers; 0 for one that is not told."""
    return numbers(server).get((f"fileserver_{name}", tuple(sorted(labels.items()))), 0.0)


def test_requests_are_counted_behind_every_server(server: Server) -> None:
    labels = {"method": "PUT", "route": "/v1/worker-files/result/<type>/<id>"}

    def told() -> list[float]:
        statuses = [number(server, "requests_total", **labels, status=status) for status in ("200", "404")]
        return [*statuses, number(server, "received_bytes_total", **labels)]

    before = told()
    assert server.put("/v1/worker-files/result/student/1", b"x" * 1234).status == 200
    assert server.put("/v1/worker-files/result/nobody/1", b"").status == 404
    assert wait_until(lambda: told() == [before[0] + 1, before[1] + 1, before[2] + 1234])


def test_what_one_request_adds(make_server: MakeServer) -> None:
    server = make_server()
    server.put("/results/a.zip", b"12345")
    answer = server.get("/results/a.zip")
    server.get("/no/such/path")
    server.request("BREW", "/results/a.zip")
    told = numbers(server)
    get = (("method", "GET"), ("route", "/results/<name>"))
    assert told["fileserver_requests_total", (*get, ("status", "200"))] == 1
    assert told["fileserver_requests_total", (("method", "GET"), ("route", "other"), ("status", "404"))] == 1
    assert told["fileserver_requests_total", (("method", "other"), ("route", "other"), ("status", "405"))] == 1
    assert told["fileserver_received_bytes_total", tuple(PUT.items())] == 5
    assert told["fileserver_sent_bytes_total", get] == len(answer.body)
    assert told["fileserver_request_duration_seconds_count", get] == 1
    assert 0 < told["fileserver_request_duration_seconds_sum", get] < 60
    buckets = [value for (name, labels), value in told.items() if name.endswith("_bucket") and set(get) <= set(labels)]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 1


def test_paths_and_methods_of_clients_make_no_new_numbers(make_server: MakeServer) -> None:
    server = make_server()
    for _ in range(20):
        server.get(f"/{fresh_id()}")
        server.request(fresh_id().upper().replace("_", "-"), "/")
    assert len([name for name, _ in numbers(server) if name == "fileserver_requests_total"]) <= 3


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[HttpServer]:
    """gunicorn with two workers that end after some requests, so that others take their place."""
    with gunicorn_server(tmp_path / "work", flags=["--max-requests", "40"]) as server:
        yield server


def count_files(server: HttpServer) -> int:
    return len(list((server.directory / "staging" / ".requests").iterdir()))


@pytest.mark.server
def test_no_request_is_forgotten_when_workers_come_and_go(workers: HttpServer) -> None:
    for _ in range(200):
        assert workers.put("/results/a.zip", b"123").status in (200, 201)
    # A request is counted when its answer has left, so that of the last one a killed process may know nothing.
    assert wait_until(lambda: number(workers, "requests_total", **PUT, status="200") == 200)
    for worker in processes(workers.pid)[1:]:
        kill_process(worker)
    assert workers.put("/results/a.zip", b"123").status in (200, 201)
    assert wait_until(lambda: number(workers, "requests_total", **PUT, status="200") == 201)
    assert [number(workers, "received_bytes_total", **PUT) for _ in range(10)] == [603] * 10
    # Two workers, and for each the next one while the old one ends.
    assert count_files(workers) <= 4


@pytest.mark.server
def test_receptions_in_progress_are_told(tmp_path: Path) -> None:
    with gunicorn_server(tmp_path / "work") as server, RawClient(server.address) as client:
        client.send(b"PUT /results/a.zip HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + bytes(1_000_000))
        assert wait_until(lambda: number(server, "staging_receptions") == 1)
        assert wait_until(lambda: 500_000 <= number(server, "staging_bytes") <= 1_000_000)
        client.send(bytes(1_000_000))
        assert client.read_response("PUT").status in (200, 201)
        # A worker that has just started makes a reception of its own, to probe the disk.
        assert wait_until(lambda: (number(server, "staging_receptions"), number(server, "staging_bytes")) == (0, 0))


def test_what_is_held_is_told(make_server: MakeServer) -> None:
    server = make_server(quotas={"max_results": 7, "max_attachments_bytes": 1000})
    server.put("/results/a.zip", b"12345")
    server.submit("student_1", {"a": b"1", "b": b"22"})
    told = numbers(server)

    def of(name: str, resource: str) -> float | None:
        return told.get((f"fileserver_{name}", (("resource", resource),)))

    assert [of("stored_files", name) for name in ("results", "submissions", "task_files")] == [1, 1, 0]
    assert [of("stored_bytes", name) for name in ("results", "submissions", "task_files")] == [5, 3, 0]
    assert [of("quota_files", name) for name in ("results", "attachments")] == [7, None]
    assert [of("quota_bytes", name) for name in ("results", "attachments")] == [None, 1000]
    assert told["fileserver_free_bytes", ()] > told["fileserver_reserve_bytes", ()] > 0


def scrub(server: FlaskServer) -> None:
    maintenance = MaintenanceSettings(scrub_every_hours=1, scrub_slices=1)
    services = services_of(server.app)
    Scrub(replace(services, settings=replace(services.settings, maintenance=maintenance))).run_if_due()


def test_the_last_scrub_is_told(make_server: MakeServer) -> None:
    server = make_server()
    server.put("/results/a.zip", b"12345")
    server.put("/results/b.zip", b"123")
    assert "fileserver_scrub_files" not in {name for name, _ in numbers(server)}
    flip_bit(server.directory / "results" / "a.zip")
    scrub(server)
    told = [number(server, f"scrub_{name}") for name in ("files", "read_bytes", "damaged_files", "unreadable_files")]
    assert told == [2, 8, 1, 0]
    assert number(server, "scrub_finished_time_seconds") > 1.7e9


def test_failed_logins_are_told(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(auth={"htpasswd_file": write_htpasswd(tmp_path / "htpasswd"), "max_failed_logins": 2})
    right = {"Authorization": basic_auth("worker", PEOPLE["worker"])}
    wrong = {"Authorization": basic_auth("api", "wrong")}
    assert [server.get("/limits", headers).status for headers in (right, wrong, wrong, wrong)] == [200, 401, 401, 429]
    assert server.get("/limits").status == 401
    assert numbers(server, right)["fileserver_failed_logins_total", ()] == 2


def test_numbers_that_cannot_be_kept_cost_no_request(make_server: MakeServer, caplog: pytest.LogCaptureFixture) -> None:
    server = make_server()
    (server.directory / "staging" / ".requests").write_text("in the way")
    assert [server.put("/results/a.zip", b"12345").status for _ in range(3)] == [200] * 3
    assert caplog.text.count("requests are not counted for now") == 1
    (server.directory / "staging" / ".requests").unlink()
    server.put("/results/a.zip", b"12345")
    assert number(server, "requests_total", **PUT, status="200") == 1


def test_numbers_go_on_where_their_folder_was_removed(make_server: MakeServer) -> None:
    server = make_server()
    server.put("/results/a.zip", b"12345")
    shutil.rmtree(server.directory / "staging" / ".requests")
    server.put("/results/a.zip", b"12345")
    assert number(server, "requests_total", **PUT, status="200") == 1


def test_what_is_no_file_of_numbers_is_left_alone(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server()
    folder = server.directory / "staging" / ".requests"
    server.put("/results/a.zip", b"12345")
    os.mkfifo(folder / "1")
    (folder / "2").mkdir()
    (folder / "3").symlink_to(tmp_path / "nowhere")
    record = (folder / "0").read_bytes()[:256]
    (folder / "4").write_bytes(record[:96] + struct.pack("<d", float("nan")) + record[104:])
    (folder / "5").write_bytes(record[:96] + struct.pack("<d", -1.0) + record[104:])
    assert number(server, "requests_total", **PUT, status="200") == 1


@pytest.mark.parametrize("rubbish", [b"", b"x", bytes(256), bytes(300), b"\xff" * 512, b"\x05a b c" + bytes(250)])
def test_what_a_power_cut_has_left_is_no_number(make_server: MakeServer, rubbish: bytes) -> None:
    server = make_server()
    folder = server.directory / "staging" / ".requests"
    folder.mkdir()
    (folder / "0").write_bytes(rubbish)
    server.put("/results/a.zip", b"12345")
    assert number(server, "requests_total", **PUT, status="200") == 1


def test_the_page_names_every_number(make_server: MakeServer) -> None:
    server = make_server(quotas={"max_results": 1, "max_results_bytes": 1})
    scrub(server)
    server.get("/healthz")
    told = {re.sub("_(bucket|sum|count)$", "", name) for name, _ in numbers(server)}
    rows = re.findall(r"^\| `(fileserver_\w+)", (REPOSITORY / "docs" / "operations.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(told)
