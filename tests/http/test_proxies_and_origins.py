"""Whom the server believes: proxies of the settings about the client, browsers about the site that makes them write."""

from pathlib import Path
from typing import Any

import pytest

from fileserver.core.addresses import forwarded_chain, parse_peers
from fileserver.core.errors import SettingsError
from tests.support.checks import assert_problem
from tests.support.pool import MakeServer
from tests.support.targets import wsgi_environ

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "unix"]


def seen_by_the_application(server: Any, headers: list[tuple[str, str]], peer: str) -> dict[str, Any]:
    """What the application is told of the client."""
    seen: dict[str, Any] = {}
    server.app.before_request_funcs[None].insert(0, lambda: seen.update(__import__("flask").request.environ))
    environ = wsgi_environ("GET", "/healthz", b"", headers)
    environ["REMOTE_ADDR"] = peer
    list(server.app(environ, lambda *_: lambda data: None))
    return seen


FORWARDED = [("X-Forwarded-For", "1.2.3.4, 10.0.0.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "files")]


def test_trusted_proxies_are_believed(make_server: MakeServer):
    server = make_server(proxy={"trusted_proxies": TRUSTED}, auth={"insecure_no_auth": True})
    seen = seen_by_the_application(server, FORWARDED, "127.0.0.1")
    assert seen["REMOTE_ADDR"] == "1.2.3.4"
    assert (seen["wsgi.url_scheme"], seen["HTTP_HOST"]) == ("https", "files")


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]])
def test_all_others_are_not(make_server: MakeServer, trusted: list[str]):
    server = make_server(proxy={"trusted_proxies": trusted}, auth={"insecure_no_auth": True})
    seen = seen_by_the_application(server, FORWARDED, "127.0.0.1")
    assert seen["REMOTE_ADDR"] == "127.0.0.1"
    assert (seen["wsgi.url_scheme"], seen["HTTP_HOST"]) == ("http", "localhost")
    assert "HTTP_X_FORWARDED_FOR" not in seen


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("127.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4, 10.1.1.1", "1.2.3.4"),
        ("", "1.2.3.4:567", "1.2.3.4"),
        ("127.0.0.1", "[2001:db8::1]:99", "2001:db8::1"),
        ("127.0.0.1", "nonsense", None),
        ("127.0.0.1", "", None),
        ("9.9.9.9", "1.2.3.4", None),
    ],
)
def test_the_client_is_who_the_last_trusted_proxy_saw(peer: str, header: str, client: str | None):
    chain = forwarded_chain(peer, header, parse_peers(TRUSTED))
    assert (chain[0] if chain else None) == client


@pytest.mark.parametrize("item", ["example.org", "10.0.0.1/8", "", "10.0.0.0/99"])
def test_what_is_no_network_is_refused(make_server: MakeServer, item: str):
    with pytest.raises(SettingsError, match="trusted_proxies"):
        make_server(proxy={"trusted_proxies": [item]})


def test_other_machines_are_refused_where_nobody_is_asked_for_credentials(make_server: MakeServer, tmp_path: Path):
    server = make_server()
    environ = wsgi_environ("GET", "/healthz", b"", [])
    environ["REMOTE_ADDR"] = "192.0.2.7"
    statuses: list[str] = []
    list(server.app(environ, lambda status, *_: statuses.append(status)))
    assert statuses[0].startswith("403")
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
    ids=str,
)
def test_a_page_of_another_site_cannot_write(make_server: MakeServer, headers: dict[str, str], allowed: bool):
    server = make_server()
    writes = (
        server.post_form("/submissions/job", {"a": b"1"}, headers),
        server.put("/results/job.zip", b"1", headers),
    )
    for response in writes:
        if allowed:
            assert response.status == 200
        else:
            assert_problem(response, "cross-site", server)
    assert server.get("/healthz", headers).status == 200
