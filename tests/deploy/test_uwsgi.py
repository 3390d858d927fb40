"""uWSGI, by the configuration that mkconfig makes: what it does besides what all servers do."""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from fileserver.deploy.processes import THREADS, processes_for_cores
from tests.support.clients import RawClient
from tests.support.embedded import uwsgi_behind_nginx, uwsgi_server
from tests.support.memory import processes
from tests.support.messages import basic_auth, chunked, fresh_bytes, fresh_id
from tests.support.pool import ServerPool
from tests.support.servers import REPOSITORY, answers, wait_until
from tests.support.targets import HttpServer

pytestmark = pytest.mark.server


@pytest.fixture
def uwsgi(pool: ServerPool) -> HttpServer:
    return pool.get("uwsgi")


def test_no_path_answers_without_credentials(pool: ServerPool):
    secured = pool.get("uwsgi", "secured")
    for path in ("/", "//", "/results/a.zip", "//results//a.zip", "/%2e%2e/x", "/results%2fa.zip", "/tasks/x"):
        for method in ("GET", "PUT", "OPTIONS", "FOO"):
            assert secured.request(method, path).status == 401, (method, path)


def test_large_and_chunked_bodies(uwsgi: HttpServer):
    path, body = f"/results/{fresh_id()}.zip", fresh_bytes(20 << 20)
    assert uwsgi.put_chunked(path, body).status == 200
    assert uwsgi.get(path).body == body
    assert uwsgi.get(path, {"Range": "bytes=7-100006"}).body == body[7:100_007]


def test_a_chunked_body_is_asked_for(uwsgi: HttpServer):
    path, body = f"/results/{fresh_id()}.zip", fresh_bytes(100_000)
    with RawClient(uwsgi.address) as client:
        client.send(client.head("PUT", path, {"Transfer-Encoding": "chunked", "Expect": "100-continue"}))
        assert client.read_response("PUT").status == 100
        client.send(chunked(body))
        assert client.read_final("PUT").status == 200
    assert uwsgi.get(path).body == body


def test_a_body_that_is_refused_is_not_asked_for(pool: ServerPool):
    with RawClient(pool.get("uwsgi", "secured").address) as client:
        client.send(client.head("PUT", "/results/a.zip", {"Content-Length": "1000000", "Expect": "100-continue"}))
        assert client.read_response("PUT").status == 401


def has_started(server: HttpServer) -> bool:
    """Whether each worker has all its threads. One that is told to end before, in its first moments, dies."""
    workers = processes(server.pid)[1:]
    threads = THREADS + processes_for_cores()  # the latter only send files
    return len(workers) == processes_for_cores() and all(
        len(os.listdir(f"/proc/{worker}/task")) >= threads for worker in workers
    )


def test_a_reload_ends_nothing(tmp_path: Path):
    """The workers end what they do, and others take over."""
    with uwsgi_server(tmp_path / "work") as server:
        assert wait_until(lambda: has_started(server), 20)
        body = fresh_bytes(3000)
        with RawClient(server.address) as client:
            client.send(client.head("PUT", "/results/a.zip", {"Content-Length": "3000"}) + body[:1000])
            assert wait_until(lambda: bool(server.transactions()))
            before = set(processes(server.pid)[1:])
            subprocess.run(["/bin/kill", f"-{signal.SIGHUP.value}", str(server.pid)], check=True)
            client.send(body[1000:])
            assert client.read_final("PUT").status == 200
        assert wait_until(lambda: not before & set(processes(server.pid)[1:]), 20)
        assert wait_until(lambda: len(processes(server.pid)[1:]) == len(before), 20)
        assert wait_until(lambda: answers(server), 20)
        assert server.get("/results/a.zip").body == body


def test_slow_readers_hold_no_threads(uwsgi: HttpServer):
    """Whole files are sent by threads that do nothing else; they stay whole when their names are replaced meanwhile."""
    path, body = f"/results/{fresh_id()}.zip", fresh_bytes(12 << 20)
    assert uwsgi.put(path, body).status == 200
    threads = 16 * len(processes(uwsgi.pid)[1:])
    with ExitStack() as stack:
        readers = [stack.enter_context(RawClient(uwsgi.address, receive_buffer=4096)) for _ in range(threads + 4)]
        for reader in readers:
            reader.send(reader.head("GET", path))
            assert reader.answers_within(5)
        assert uwsgi.put(path, b"another version").status == 200
        assert uwsgi.get(path).body == b"another version"
        assert readers[0].read_final("GET").body == body
        assert readers[-1].read_final("GET").body == body


def test_a_file_counts_with_its_bytes(uwsgi: HttpServer):
    labels = '{method="GET",route="/attachments/<id>"}'

    def sent() -> float:
        told = re.search(rf"fileserver_sent_bytes_total{re.escape(labels)} (.+)", uwsgi.get("/metrics").body.decode())
        return float(told[1]) if told else 0.0

    path, body = f"/attachments/{fresh_id()}", fresh_bytes(3 << 20)
    uwsgi.put(path, body)
    before = sent()
    assert uwsgi.get(path).body == body
    assert wait_until(lambda: sent() == before + len(body))


def test_a_path_with_blanks(tmp_path: Path):
    with uwsgi_server(tmp_path / "a strange  place") as server:
        assert server.put("/results/a.zip", b"1").status == 200
        assert (server.directory / "results" / "a.zip").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["a%d", "a$(HOME)", "a;b", 'a"b', "a#b", "@(exec://id)", "a\nplugin = x", " x"])
def test_what_uwsgi_would_take_for_something_else_is_refused(tmp_path: Path, name: str):
    command = [sys.executable, "mkconfig.py", "uwsgi", "--working-directory", f"{tmp_path}/{name} "]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--working-directory" in done.stderr


def test_behind_nginx_on_a_unix_socket(tmp_path: Path):
    with uwsgi_behind_nginx(tmp_path / "work") as server:
        body = fresh_bytes(3 << 20)
        assert server.put("/results/a.zip", body).status == 200
        assert server.put_chunked("/results/b.zip", body).status == 200
        assert server.submit("job", {"a": body}).status == 200
        for path in ("/results/a.zip", "/results/b.zip", "/submissions/job/a"):
            assert server.get(path).body == body
            assert server.get(path, {"Range": "bytes=5-9"}).body == body[5:10]
        assert server.put("/results/c.zip", b"1", {"Transfer-Encoding": "identity"}).status >= 400
        assert server.get("/", {"Authorization": basic_auth("worker", "wrong")}).status == 401
