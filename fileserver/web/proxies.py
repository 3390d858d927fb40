"""Proxies in front: what they say of the client is believed if they are in the settings, and of nobody else."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.middleware.proxy_fix import ProxyFix

from fileserver.core.addresses import Peers, forwarded_chain

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PEER = "fileserver.peer"
_SCHEMES = ("http", "https")


class TrustedProxies:
    """WSGI middleware: address, scheme and host of the client from X-Forwarded-For, -Proto and -Host.

    *trusted* peers are believed, and of several proxies in a row as many as are trusted. From others the three
    fields are dropped, so that nobody takes them for true.
    """

    def __init__(self, app: "WSGIApplication", trusted: Peers) -> None:
        self._app = app
        self._trusted = trusted

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        peer = environ[_PEER] = environ.get("REMOTE_ADDR", "")
        if peer not in self._trusted:
            for name in ("FOR", "PROTO", "HOST"):
                environ.pop(f"HTTP_X_FORWARDED_{name}", None)
            return self._app(environ, start_response)
        chain = forwarded_chain(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self._trusted)
        environ["HTTP_X_FORWARDED_FOR"] = ", ".join(chain)
        hops = max(1, len(chain))
        scheme_hops = min(hops, len(_items(environ, "PROTO")))
        if scheme_hops and _items(environ, "PROTO")[-scheme_hops] not in _SCHEMES:
            scheme_hops = 0
        host_hops = min(hops, len(_items(environ, "HOST")))
        fixed = ProxyFix(self._app, x_for=len(chain), x_proto=scheme_hops, x_host=host_hops)
        return fixed(environ, start_response)


def _items(environ: dict[str, Any], name: str) -> list[str]:
    value = environ.get(f"HTTP_X_FORWARDED_{name}", "")
    return [item.strip() for item in value.split(",")] if value else []


def peer_address(environ: dict[str, Any]) -> str:
    """Who is connected to this server, be it a proxy; empty for a unix socket."""
    return str(environ[_PEER])
