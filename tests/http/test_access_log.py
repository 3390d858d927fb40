"""The access log: a line for each request, right about what was sent, and nothing in it that a client has forged."""

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fileserver.core.errors import SettingsError
from tests.support.clients import RawClient
from tests.support.credentials import PEOPLE, write_htpasswd
from tests.support.messages import basic_auth, fresh_id, sha1
from tests.support.pool import MakeServer
from tests.support.servers import gunicorn_server, wait_until
from tests.support.targets import FlaskServer, HttpServer, wsgi_environ

LARGE = 40_000_000
SMALL_BUFFER = 65_536
TEXT_LINE = re.compile(
    r'(\S+) - (\S+) \[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000\] "([A-Z]+) (\S+) (HTTP/1\.\d)" (\d{3}) (\d+) '
    r'"-" "([^"]*)" received=(\d+) seconds=(\d+\.\d{6}) id=(\S+)\n'
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def json_server(make_server: MakeServer, log: Path) -> FlaskServer:
    return make_server(log={"access_log": "json", "access_log_file": log})


@pytest.fixture
def text_server(make_server: MakeServer, log: Path) -> FlaskServer:
    return make_server(log={"access_log_file": log})


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_each_request_has_its_line(json_server: FlaskServer, log: Path):
    json_server.put("/results/a.zip", b"12345", {"User-Agent": "worker/1"})
    json_server.get("/results/a.zip", {"Range": "bytes=1-3"})
    json_server.get("/results/a.zip", {"Range": "bytes=0-0,2-2"})
    json_server.head("/results/a.zip")
    json_server.get("/results/none.zip")
    json_server.get("/no/such/route?a=b")
    json_server.post_form("/tasks", {"name": b"content"})
    json_server.delete("/results/a.zip")
    json_server.request("BREW", "/results/a.zip")
    told = lines(log)
    assert [(line["method"], line["target"], line["route"], line["status"]) for line in told] == [
        ("PUT", "/results/a.zip", "/results/<name>", 200),
        ("GET", "/results/a.zip", "/results/<name>", 206),
        ("GET", "/results/a.zip", "/results/<name>", 206),
        ("HEAD", "/results/a.zip", "/results/<name>", 200),
        ("GET", "/results/none.zip", "/results/<name>", 404),
        ("GET", "/no/such/route?a=b", None, 404),
        ("POST", "/tasks", "/tasks", 200),
        ("DELETE", "/results/a.zip", "/results/<name>", 204),
        ("BREW", "/results/a.zip", None, 405),
    ]
    assert [line["received_bytes"] for line in told[:6]] == [5, 0, 0, 0, 0, 0]
    assert [line["sent_bytes"] for line in (told[1], told[3])] == [3, 0]
    assert told[2]["sent_bytes"] > 2
    assert told[6]["received_bytes"] > len(b"content")
    for line in told:
        assert (line["address"], line["user"]) == ("127.0.0.1", None)
        assert 0 < line["seconds"] < 60
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert [line["user_agent"] for line in told] == ["worker/1"] + 8 * [None]


def test_a_refused_body_counts_as_far_as_it_was_read(make_server: MakeServer, log: Path):
    server = make_server(log={"access_log": "json", "access_log_file": log}, limits={"max_file_bytes": 10})
    assert server.put_chunked("/results/a.zip", bytes(1000)).status == 413
    (line,) = lines(log)
    assert (line["status"], 10 < line["received_bytes"] <= 1000) == (413, True)


def test_an_answer_is_logged_with_the_bytes_of_its_body(json_server: FlaskServer, log: Path):
    answer = json_server.get("/limits")
    assert lines(log)[0]["sent_bytes"] == len(answer.body)


def test_the_user_is_who_has_proved_it(make_server: MakeServer, log: Path, tmp_path: Path):
    server = make_server(
        log={"access_log": "json", "access_log_file": log},
        auth={"htpasswd_file": write_htpasswd(tmp_path / "htpasswd")},
    )
    server.get("/healthz", {"Authorization": basic_auth("worker", PEOPLE["worker"])})
    server.get("/healthz", {"Authorization": basic_auth("worker", "wrong")})
    server.get("/healthz")
    assert [(line["status"], line["user"]) for line in lines(log)] == [(200, "worker"), (401, None), (401, None)]
    assert PEOPLE["worker"] not in log.read_text()


@pytest.mark.parametrize("given", ["4f1d9a2c", "Root=1-67891233-abcdef012345678912345678", "a" * 128])
def test_a_sane_request_id_is_taken_over(json_server: FlaskServer, log: Path, given: str):
    answer = json_server.get("/healthz", {"X-Request-Id": given})
    assert answer.headers.get_all("X-Request-Id") == [given]
    assert lines(log)[0]["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", 'a"b', "a\\b", "ä", "a" * 129, "a\x7fb", "<script>"])
def test_any_other_request_id_is_replaced(json_server: FlaskServer, log: Path, given: str):
    answers = [json_server.get(path, {"X-Request-Id": given}) for path in ("/healthz", "/nowhere")]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    assert ids[0] != ids[1]
    assert [line["request_id"] for line in lines(log)] == ids


@pytest.mark.parametrize("name", ["signature", "%73ignature", "s%69gnatur%65"])
def test_signatures_are_not_logged(json_server: FlaskServer, log: Path, name: str):
    json_server.get(f"/results/a.zip?expires=1&{name}=c2VjcmV0&x=signature=c2VjcmV1")
    assert lines(log)[0]["target"] == f"/results/a.zip?expires=1&{name}=-&x=signature=c2VjcmV1"
    assert "c2VjcmV0" not in log.read_text()


HOSTILE = 'a" 200 1\n127.0.0.1 - - "\r\t\x00\x1b[31m\\x41\u2028é'


def test_a_client_cannot_forge_a_line(text_server: FlaskServer, log: Path):
    path = "/results/%22%0a%0d%1b%C3%A9%5c.zip"
    text_server.get(path + '?q=%0a\x7f\x0b é"', {"User-Agent": HOSTILE, "X-Forwarded-For": HOSTILE})
    (line,) = log.read_bytes().decode("ascii").splitlines(keepends=True)
    found = TEXT_LINE.fullmatch(line)
    assert found, line
    assert found[4].startswith(
        path.replace("%0a", "%0A").replace("%0d", "%0D").replace("%1b", "%1B").replace("%5c", "%5C")
    )
    assert line.isprintable() or line[:-1].isprintable()
    assert r"a\x22 200 1\x0a127.0.0.1" in found[8]


def test_json_lines_are_lines_whatever_a_client_sends(json_server: FlaskServer, log: Path):
    json_server.get("/results/%0a.zip", {"User-Agent": HOSTILE})
    (line,) = lines(log)
    assert line["user_agent"] == HOSTILE
    assert unquote(line["target"]) == "/results/\n.zip"


def test_a_hostile_user_name_stays_in_its_place(make_server: MakeServer, log: Path, tmp_path: Path):
    name = 'a "b] é'
    htpasswd = write_htpasswd(tmp_path / "htpasswd")
    htpasswd.write_text(htpasswd.read_text().replace("worker:", f"{name}:"))
    server = make_server(log={"access_log_file": log}, auth={"htpasswd_file": htpasswd})
    assert server.get("/healthz", {"Authorization": basic_auth(name, PEOPLE["worker"])}).status == 200
    found = TEXT_LINE.fullmatch(log.read_text())
    assert found, log.read_text()
    assert found[2] == r"a\x20\x22b]\x20\xe9"


def test_long_lines_are_cut(json_server: FlaskServer, log: Path):
    json_server.get("/results/" + "a" * 8000, {"User-Agent": "b" * 8000})
    assert len(log.read_text()) < 4096


def test_the_text_tells_the_same(text_server: FlaskServer, log: Path):
    answer = text_server.put("/results/a.zip", b"12345", {"User-Agent": "worker/1", "X-Request-Id": "abc"})
    found = TEXT_LINE.fullmatch(log.read_text())
    assert found, log.read_text()
    assert found.groups()[:9] == (
        *("127.0.0.1", "-", "PUT", "/results/a.zip", "HTTP/1.1", "200", str(len(answer.body)), "worker/1", "5"),
    )
    assert found[11] == "abc"


def test_by_default_it_goes_to_standard_output(make_server: MakeServer, capsys: pytest.CaptureFixture[str]):
    make_server().get("/healthz")
    make_server(log={"access_log": "json"}).get("/healthz")
    text, as_json = capsys.readouterr().out.splitlines(keepends=True)
    assert TEXT_LINE.fullmatch(text)
    assert json.loads(as_json)["target"] == "/healthz"


def test_there_may_be_none(make_server: MakeServer, log: Path, capsys: pytest.CaptureFixture[str]):
    make_server(log={"access_log": "none", "access_log_file": log}).get("/healthz")
    assert (capsys.readouterr().out, log.exists()) == ("", False)


def test_a_file_that_cannot_be_written_is_refused_at_start(make_server: MakeServer, tmp_path: Path):
    with pytest.raises(SettingsError, match=r"access_log_file .*nowhere.* cannot be used: No such file"):
        make_server(log={"access_log_file": tmp_path / "nowhere" / "log"})


def test_a_full_disk_costs_lines_and_nothing_else(make_server: MakeServer, caplog: pytest.LogCaptureFixture):
    server = make_server(log={"access_log_file": "/dev/full"})
    assert server.get("/healthz").status == 200
    assert server.put("/results/a.zip", b"1").status == 200
    assert "the access log cannot be written: [Errno 28]" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_file_that_is_moved_away_is_begun_anew(json_server: FlaskServer, log: Path):
    json_server.get("/healthz")
    log.rename(log.with_name("access.log.1"))
    json_server.get("/limits")
    assert [line["target"] for line in lines(log)] == ["/limits"]
    assert [line["target"] for line in lines(log.with_name("access.log.1"))] == ["/healthz"]


class FileWrapper:
    """As that of gunicorn: the server recognizes its own class, and closes it."""

    def __init__(self, file: Any, block_bytes: int) -> None:
        self.file = file
        self.close = file.close


def test_the_server_gets_its_own_file_wrapper_back(json_server: FlaskServer, log: Path):
    json_server.put("/results/a.zip", b"0123456789")
    with socket.socket() as connection:
        environ = wsgi_environ("GET", "/results/a.zip", b"", [("Range", "bytes=2-8")])
        environ |= {"wsgi.file_wrapper": FileWrapper, "gunicorn.socket": connection}
        answer = json_server.app(environ, lambda status, headers: None)
        assert type(answer) is FileWrapper
        assert len(lines(log)) == 1
        answer.file.seek(6)  # as far as socket.sendfile came
        answer.close()
    assert (lines(log)[1]["status"], lines(log)[1]["sent_bytes"]) == (206, 4)


@pytest.fixture
def logging_server(tmp_path: Path, log: Path) -> Iterator[HttpServer]:
    env = {"FILESERVER_ACCESS_LOG": "json", "FILESERVER_ACCESS_LOG_FILE": str(log)}
    with gunicorn_server(tmp_path / "work", env=env) as server:
        yield server


def results(log: Path) -> list[dict[str, Any]]:
    """The lines on results; those that asked whether the server is up are left out."""
    return [line for line in lines(log) if line["target"].startswith("/results/")]


@pytest.mark.server
def test_a_client_that_goes_away_is_logged_with_what_it_was_sent(logging_server: HttpServer, log: Path):
    path = f"/results/{fresh_id()}.zip"
    logging_server.put(path, bytes(LARGE))
    assert len(logging_server.get(path).body) == LARGE
    assert len(logging_server.get(path, {"Range": "bytes=5-1000004"}).body) == 1_000_000
    with RawClient(logging_server.address, receive_buffer=SMALL_BUFFER) as client:
        client.send(client.head("GET", path))
        # More than the head of the answer, which leaves before the file.
        assert client.socket.recv(SMALL_BUFFER // 4, socket.MSG_WAITALL)
    assert wait_until(lambda: len(results(log)) == 4)
    stored, whole, some, cut = results(log)
    assert (stored["received_bytes"], whole["sent_bytes"], some["sent_bytes"]) == (LARGE, LARGE, 1_000_000)
    assert 0 < cut["sent_bytes"] < LARGE


@pytest.mark.server
def test_lines_of_many_processes_and_threads_do_not_mix(logging_server: HttpServer, log: Path):
    def ask(number: int) -> None:
        logging_server.get(f"/results/{number:04}{'x' * 1000}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(400)))
    assert wait_until(lambda: len(results(log)) == 400)
    assert {line["target"][9:13] for line in results(log)} == {f"{number:04}" for number in range(400)}


@pytest.mark.server
@pytest.mark.parametrize("form", ["text", "json"])
def test_messages_carry_the_id_of_their_request(tmp_path: Path, form: str):
    with gunicorn_server(tmp_path / "work", env={"FILESERVER_LOG_FORMAT": form}) as server:
        server.post_form("/tasks", {"a": b"content"})
        name = sha1(b"content")
        (tmp_path / "work" / "tasks" / name[0] / name).write_bytes(b"rotten!")
        answer = server.get(f"/tasks/{name}", {"X-Request-Id": "the-id"})
        assert answer.status == 404
        messages = [line for line in server.log.read_text().splitlines() if "the-id" in line and name in line]
        messages = [line for line in messages if "GET" not in line]
    (message,) = messages
    if form == "json":
        members = json.loads(message)
        assert (members["request_id"], members["level"]) == ("the-id", "error")
        assert members["logger"].startswith("fileserver.")
        assert name in members["message"]
    else:
        assert re.match(r"\S+Z ERROR fileserver\.\S+ \[the-id\]: ", message)
