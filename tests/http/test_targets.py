"""Ways to write a request that are rare, and must still mean what they say."""

import pytest

from tests.support.clients import RawClient
from tests.support.messages import fresh_id
from tests.support.targets import HttpServer, Server


def test_a_query_changes_nothing(server: Server):
    path = f"/results/{fresh_id()}.zip"
    assert server.put(f"{path}?x=/../y", b"1").status == 200
    assert server.get(f"{path}?download=1&a=b").body == b"1"


def test_path_parameters_belong_to_the_name(server: Server):
    path = f"/results/{fresh_id()}.zip"
    server.put(path, b"1")
    assert server.get(f"{path};v=1").status == 404


def test_percent_encoding_is_undone_once(server: Server):
    name = fresh_id()
    server.put(f"/results/{name}.zip", b"plain")
    server.put(f"/results/{name}%252e.zip", b"encoded twice")
    server.put(f"/results/{name}%2E%7a%69p", b"the same name")
    assert server.get(f"/results/{name}.zip").body == b"the same name"
    assert server.get(f"/results/{name}%252e.zip").body == b"encoded twice"


@pytest.mark.parametrize(
    "path", ["/results/%2e%2e%2f%2e%2e%2fx.zip", "/results/..%5c..%5cx.zip", "/../x", "/results/../x"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_paths_stay_inside(server: Server, method: str, path: str):
    assert 400 <= server.request(method, path, b"").status < 500


def test_absolute_form(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    real_server.put(path, b"1")
    host, port = real_server.address
    assert real_server.get(f"http://{host}:{port}{path}").body == b"1"


def test_options_of_the_whole_server(real_server: HttpServer):
    assert real_server.request("OPTIONS", "*").status < 500


def test_http_1_0(real_server: HttpServer):
    path = f"/results/{fresh_id()}.zip"
    real_server.put(path, b"1")
    with RawClient(real_server.address) as client:
        client.send(client.head("GET", path).replace(b"HTTP/1.1", b"HTTP/1.0"))
        response = client.read_final("GET")
        assert (response.status, response.body) == (200, b"1")
        assert not client.reusable


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "TRACE", "CONNECT"])
def test_methods_that_nobody_knows(server: Server, method: str):
    response = server.request(method, "/results/a.zip")
    assert 400 <= response.status <= 501


def test_names_of_headers_have_no_case(server: Server):
    path = f"/results/{fresh_id()}.zip"
    assert server.put(path, b"x", {"content-md5": "rubbish"}).status == 400
    assert server.put(path, b"0123", {"CONTENT-TYPE": "x"}).status == 200
    assert server.get(path, {"range": "bytes=1-2"}).body == b"12"
