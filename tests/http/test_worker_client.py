"""What the C++ worker sends and relies on, with an old and with a new libcurl."""

import pytest

from tests.support.checks import archive_files
from tests.support.clients import RawClient, WorkerClient
from tests.support.messages import fresh_bytes, fresh_id, sha1
from tests.support.targets import HttpServer

SIZES = [0, 1, 1024, 3 * 1024 * 1024]


@pytest.fixture(params=[False, True], ids=["old-libcurl", "new-libcurl"])
def worker(request: pytest.FixtureRequest, real_server: HttpServer) -> WorkerClient:
    return WorkerClient(real_server.address, upgrade=request.param)


@pytest.mark.parametrize("size", SIZES)
def test_worker_sends_a_result(worker: WorkerClient, size: int):
    path, content = f"/results/{fresh_id()}.zip", fresh_bytes(size)
    response = worker.put(path, content)
    assert (response.status, response.json()) == (200, {"result": "OK"})
    assert worker.body_sent
    assert not worker.waited, "no 100 Continue came within a second"
    assert worker.get(path).body == content


def test_worker_fetches_an_archive(real_server: HttpServer, worker: WorkerClient):
    name = fresh_id()
    real_server.submit(name, {"a.c": b"int", "job-config.yml": b"j"})
    response = worker.get(f"/submission_archives/{name}.zip")
    assert response.status == 200
    assert response.headers["Content-Length"] == str(len(response.body))
    assert archive_files(real_server, name) == {"a.c": b"int", "job-config.yml": b"j"}


@pytest.mark.parametrize("collector", ["/exercises", "/tasks"])
def test_worker_fetches_a_task_file(real_server: HttpServer, worker: WorkerClient, collector: str):
    content = fresh_bytes(300_000)
    real_server.post_form("/exercises", {"a": content})
    response = worker.get(f"{collector}/{sha1(content)}")
    assert (response.status, response.body) == (200, content)
    assert response.headers["Content-Length"] == "300000"


def test_worker_is_told_what_is_not_there(worker: WorkerClient):
    for path in ("/exercises/" + "0" * 40, f"/submission_archives/{fresh_id()}.zip"):
        assert worker.get(path).status == 404


def test_put_without_content_type(worker: WorkerClient):
    path = f"/results/{fresh_id()}.zip"
    assert worker.put(path, b"no type").status == 200
    assert worker.get(path).headers["Content-Type"] == "application/zip"


def test_refused_put_tells_its_status(worker: WorkerClient):
    assert worker.put("/results/%2e%2e", fresh_bytes(200_000)).status in (400, 404)
    assert worker.put(f"/{fresh_id()}", fresh_bytes(200_000)).status == 404


def test_upgrade_is_ignored(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    worker = WorkerClient(real_server.address, upgrade=True)
    response = worker.put(path, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert response.status == 200
    assert "Upgrade" not in response.headers
    assert worker.get(path).body == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def test_stored_bytes_are_those_of_a_streamed_zip(real_server: HttpServer, worker: WorkerClient):
    """Result archives have data descriptors, and are stored byte for byte, not as archives."""
    content = b"PK\x03\x04\x14\x00\x08\x00" + fresh_bytes(100) + b"PK\x07\x08" + fresh_bytes(12)
    path = f"/results/{fresh_id()}.zip"
    worker.put(path, content)
    assert (real_server.directory / path[1:]).read_bytes() == content


def test_every_answer_announces_its_length(real_server: HttpServer):
    name = fresh_id()
    real_server.submit(name, {"a": b"1"})
    paths = [f"/submissions/{name}", f"/submissions/{name}/a", f"/submission_archives/{name}.zip"]
    for path in [*paths, "/", "/healthz", "/tasks", f"/results/{fresh_id()}.zip", "/nowhere"]:
        response = real_server.get(path)
        assert response.headers["Content-Length"] == str(len(response.body)), path
        assert "Transfer-Encoding" not in response.headers


def test_body_in_the_packet_of_the_head(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    with RawClient(real_server.address) as client:
        head = client.head("PUT", path, {"Content-Length": "10"})
        client.send(head + b"01234")
        client.send(b"56789")
        assert client.read_final("PUT").status == 200
    assert real_server.get(path).body == b"0123456789"


def test_body_byte_by_byte(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    with RawClient(real_server.address) as client:
        for byte in client.head("PUT", path, {"Content-Length": "3"}) + b"abc":
            client.send(bytes([byte]))
        assert client.read_final("PUT").status == 200
    assert real_server.get(path).body == b"abc"
