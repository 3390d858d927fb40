"""Spans: one for each request, right about it, as long as its answer takes, and without secrets."""

import json
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.test_serve_command import Serving, serving
from tests.crash.tracing import why_not_possible
from tests.support.clients import RawClient
from tests.support.collector import Collector, collecting
from tests.support.credentials import PEOPLE, write_htpasswd
from tests.support.gaps import not_possible
from tests.support.messages import HeaderPairs, Response, basic_auth, fresh_id, header_pairs, sha1
from tests.support.pool import MakeServer
from tests.support.servers import wait_until
from tests.support.targets import wsgi_environ

SERVER_KIND = 2
UNSET, ERROR = 0, 2
LARGE = 40_000_000
SMALL_BUFFER = 65_536
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "20"}
CREDENTIALS = ("Authorization", basic_auth("worker", PEOPLE["worker"]))


class Traced(NamedTuple):
    """A server of two workers, and what takes its spans."""

    server: Serving
    collector: Collector
    folder: Path

    def ask(self, method: str, path: str, body: bytes = b"", headers: HeaderPairs = (CREDENTIALS,)) -> Response:
        with RawClient(self.server.address) as client:
            return client.request(method, path, body, headers)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")
    keys = folder / "keys"
    keys.touch(0o600)
    keys.write_text("11" * 32 + "\n")
    settings = {
        "htpasswd_file": str(write_htpasswd(folder / "htpasswd")),
        "signing_key_file": str(keys),
        "max_attachments_bytes": "10",
        "access_log": "json",
        "access_log_file": str(folder / "access.log"),
        "log_format": "json",
    }
    with pytest.MonkeyPatch.context() as patch, collecting() as collector:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        flags = ("--bind", "127.0.0.1:0", "--workers", 2)
        with serving(folder, *flags, trace_endpoint=collector.endpoint, **settings) as server:
            yield Traced(server, collector, folder)


@pytest.mark.server
def test_a_span_tells_what_the_request_was(traced: Traced) -> None:
    path = f"/results/{fresh_id()}.zip"
    put = traced.ask("PUT", path, b"12345")
    some = traced.ask("GET", f"{path}?a=b", headers=[CREDENTIALS, ("Range", "bytes=1-3"), ("X-Request-Id", "mine")])
    stored, read = traced.collector.awaited(2, path)
    assert (stored.name, stored.kind, stored.status) == ("PUT /results/<name>", SERVER_KIND, UNSET)
    assert stored.attributes == {
        "http.request.method": "PUT",
        "http.route": "/results/<name>",
        "http.response.status_code": 200,
        "http.request.body.size": 5,
        "http.response.body.size": len(put.body),
        "url.scheme": "http",
        "url.path": path,
        "request_id": put.headers["X-Request-Id"],
    }
    assert (read.name, read.request_id, some.body) == ("GET /results/<name>", "mine", b"234")
    assert [read.attributes[f"http.{name}"] for name in ("response.status_code", "response.body.size")] == [206, 3]
    assert stored.resource["service.name"] == "recodex-fileserver"
    assert all(span.began_ns < span.ended_ns <= time.time_ns() for span in (stored, read))


@pytest.mark.server
def test_clients_do_not_make_names(traced: Traced) -> None:
    path = f"/results/{fresh_id()}/%C3%A4"
    for method, below in (("BREW", ""), ("GET", "/no/route"), ("MKCOL", "")):
        traced.ask(method, path + below)
    spans = traced.collector.awaited(3, path)
    assert sorted(span.name for span in spans) == ["GET", "HTTP", "HTTP"]
    assert sorted(span.attributes["http.request.method"] for span in spans) == ["GET", "_OTHER", "_OTHER"]
    assert not any("http.route" in span.attributes for span in spans)


@pytest.mark.server
def test_what_the_server_fails_at_is_an_error_and_what_the_client_does_wrong_is_none(traced: Traced) -> None:
    path = f"/attachments/{fresh_id()}"
    assert traced.ask("PUT", path, bytes(11)).status == 507
    assert traced.ask("GET", path).status == 404
    full, missing = traced.collector.awaited(2, path)
    assert (full.status, full.attributes["error.type"]) == (ERROR, "507")
    assert (missing.status, "error.type" in missing.attributes) == (UNSET, False)


@pytest.mark.server
def test_a_trace_is_continued(traced: Traced) -> None:
    path, trace, parent = f"/results/{fresh_id()}.zip", secrets.token_hex(16), secrets.token_hex(8)
    given = [CREDENTIALS, ("Traceparent", f"00-{trace}-{parent}-01"), ("Tracestate", "a=1")]
    answer = traced.ask("GET", path, headers=given)
    traced.ask("GET", path, headers=[CREDENTIALS, ("Traceparent", f"00-{trace}-{parent}-00")])
    (span,) = traced.collector.awaited(1, path)
    assert (span.trace_id, span.parent_id) == (trace, parent)
    assert span.request_id == answer.headers["X-Request-Id"]


@pytest.mark.server
@pytest.mark.parametrize(
    "given",
    [
        [("Traceparent", "")],
        [("Traceparent", "00-0-0-0")],
        [("Traceparent", f"00-{'0' * 32}-{'1' * 16}-01")],
        [("Traceparent", f"ff-{'a' * 32}-{'1' * 16}-01")],
        [("Traceparent", f"00-{'a' * 32}-{'1' * 16}-01"), ("Traceparent", f"00-{'b' * 32}-{'1' * 16}-01")],
        [("Traceparent", "é" * 4000)],
        [("Tracestate", "a=1"), ("Baggage", "a=1")],
    ],
)
def test_what_is_no_trace_begins_a_new_one(traced: Traced, given: list[tuple[str, str]]) -> None:
    path = f"/results/{fresh_id()}.zip"
    assert traced.ask("GET", path, headers=[CREDENTIALS, *given]).status == 404
    (span,) = traced.collector.awaited(1, path)
    assert (span.parent_id, span.trace_id.strip("0ab") != "") == ("", True)


@pytest.mark.server
@pytest.mark.parametrize("state", ["a", "a=1,a=1", ",".join(f"k{n}=v" for n in range(40)), "é=1", "x" * 5000])
def test_nonsense_in_a_state_is_not_logged(traced: Traced, state: str) -> None:
    path, trace = f"/results/{fresh_id()}.zip", secrets.token_hex(16)
    given = [("Traceparent", f"00-{trace}-{'1' * 16}-01"), ("Tracestate", state)]
    assert traced.ask("GET", path, headers=[CREDENTIALS, *given]).status == 404
    assert traced.collector.awaited(1, path)[0].trace_id == trace
    assert "tracing:" not in traced.server.output


@pytest.mark.server
@pytest.mark.parametrize("ranges", ["", "bytes=0-19999999", "bytes=0-19999999,20000000-39999990"])
def test_a_span_ends_when_the_last_byte_has_left(traced: Traced, ranges: str) -> None:
    path = f"/results/{fresh_id()}.zip"
    traced.ask("PUT", path, bytes(LARGE))
    with RawClient(traced.server.address, receive_buffer=SMALL_BUFFER) as client:
        client.send(client.head("GET", path, [CREDENTIALS, *([("Range", ranges)] if ranges else [])]))
        assert client.answers_within(10)
        read_on_ns = time.time_ns()  # Most of the answer is still in the server.
        body = client.read_final("GET").body
    _, span = traced.collector.awaited(2, path)
    assert span.ended_ns > read_on_ns
    assert span.attributes["http.response.body.size"] == len(body)


@pytest.mark.server
def test_spans_hold_no_secrets(traced: Traced) -> None:
    path = f"/results/{fresh_id()}.zip"
    question = json.dumps({"method": "PUT", "path": path}).encode()
    link = traced.ask("POST", "/sign", question).json()["url"]
    signature = link.rpartition("=")[2]
    assert traced.ask("PUT", link, b"1", headers=()).status == 200
    for name in ("signature", "%73ignature"):
        assert traced.ask("GET", f"{path}?expires=1&{name}={signature}", headers=()).status == 403
    wrong = basic_auth("worker", "a wrong one")
    assert traced.ask("GET", path, headers=[("Authorization", wrong)]).status == 401
    traced.collector.awaited(4, path)
    sent = b"".join(traced.collector.bodies)
    tokens = [wrong.split()[1], CREDENTIALS[1].split()[1]]
    for secret in (signature, PEOPLE["worker"], "a wrong one", *tokens, "Basic", "uthorization", "expires"):
        assert secret.encode() not in sent


@pytest.mark.server
def test_both_workers_send_spans_as_themselves(traced: Traced) -> None:
    def both() -> bool:
        traced.ask("GET", "/healthz")
        return len({span.resource["service.instance.id"] for span in traced.collector.spans()}) == 2

    assert wait_until(both, 20)


@pytest.mark.server
def test_the_logs_tell_the_trace(traced: Traced) -> None:
    content = fresh_id().encode()
    form = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + content + b"\r\n--b--\r\n"
    type_ = ("Content-Type", "multipart/form-data; boundary=b")
    assert traced.ask("POST", "/tasks", form, [CREDENTIALS, type_]).status == 200
    name, trace = sha1(content), secrets.token_hex(16)
    (traced.folder / "work" / "tasks" / name[0] / name).write_bytes(b"rotten!" * 9)
    given = [CREDENTIALS, ("Traceparent", f"00-{trace}-{'1' * 16}-01")]
    assert traced.ask("GET", f"/tasks/{name}", headers=given).status == 404
    traced.collector.awaited(1, f"/tasks/{name}")
    lines = [json.loads(line) for line in (traced.folder / "access.log").read_text().splitlines()]
    assert [line["target"] for line in lines if line["trace_id"] == trace] == [f"/tasks/{name}"]
    messages = [json.loads(line) for line in traced.server.output.splitlines() if trace in line]
    assert [name in message["message"] for message in messages] == [True]


@pytest.mark.server
def test_files_leave_by_sendfile(tmp_path: Path) -> None:
    if gap := why_not_possible():
        not_possible(gap)
    calls = tmp_path / "calls"
    strace = ["strace", "-D", "-f", "-e", "trace=sendfile", "-o", str(calls)]
    with (
        collecting() as collector,
        serving(tmp_path, "--bind", "127.0.0.1:0", prefix=strace, trace_endpoint=collector.endpoint) as server,
    ):
        with RawClient(server.address) as client:
            client.request("PUT", "/results/a.zip", bytes(300_000))
            assert len(client.request("GET", "/results/a.zip").body) == 300_000
            assert len(client.request("GET", "/results/a.zip", headers={"Range": "bytes=9-200000"}).body) == 199_992
        assert server.stop() == 0
        assert [span.attributes["http.response.body.size"] for span in collector.awaited(3)][1:] == [300_000, 199_992]
    sent = [line.split(") = ")[1] for line in calls.read_text().splitlines() if ") = " in line]
    assert sent == ["300000", "199992"]


class FileWrapper:
    """As that of gunicorn: the server recognizes its own class, and closes it."""

    def __init__(self, file: Any, block_bytes: int) -> None:
        self.file = file
        self.close = file.close


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    with collecting() as taken:
        yield taken


def test_the_server_gets_its_own_file_wrapper_back(make_server: MakeServer, collector: Collector) -> None:
    server = make_server(tracing={"trace_endpoint": collector.endpoint}, log={"access_log": "none"})
    server.put("/results/a.zip", b"0123456789")
    collector.awaited(1)
    with socket.socket() as connection:
        environ = wsgi_environ("GET", "/results/a.zip", b"", header_pairs({"Range": "bytes=2-8"}))
        environ |= {"wsgi.file_wrapper": FileWrapper, "gunicorn.socket": connection}
        answer = server.app(environ, lambda status, headers: None)
        assert type(answer) is FileWrapper
        answer.file.seek(6)  # as far as socket.sendfile came
        closing_ns = time.time_ns()
        answer.close()
    _, span = collector.awaited(2)
    assert (span.ended_ns >= closing_ns, span.attributes["http.response.body.size"]) == (True, 4)


def test_a_request_that_gets_no_answer_is_an_error(make_server: MakeServer, collector: Collector) -> None:
    server = make_server(tracing={"trace_endpoint": collector.endpoint}, log={"access_log": "none"})
    server.app.before_request(sys.exit)
    with pytest.raises(SystemExit):
        server.get("/healthz")
    (span,) = collector.awaited(1)
    assert (span.status, span.attributes["error.type"]) == (ERROR, "_OTHER")
    assert "http.response.status_code" not in span.attributes
