"""Writes that a page of somebody else makes a browser send, with the credentials that the browser remembers."""

from urllib.parse import urlsplit

from flask import request

from fileserver.core.errors import CrossSite
from fileserver.web.context import services
from fileserver.web.signed_urls import is_link

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_OWN_SITES = ("same-origin", "none")


def refuse_cross_site() -> None:
    """Raise CrossSite for a write that a browser says comes from a page of another site.

    Programs send neither of the two fields. A link needs no credentials, so that nobody's can be misused with it.
    """
    if request.method in _SAFE_METHODS or is_link():
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        is_own = site in _OWN_SITES
    else:
        is_own = origin is None or _is_own(origin)
    if not is_own:
        raise CrossSite("Sec-Fetch-Site, Origin: a page of another site must not write here")


def _is_own(origin: str) -> bool:
    """Whether *origin* is this server, be it by another scheme: behind a proxy it may not know its own."""
    own = {f"//{request.host}".casefold()}
    if public_url := services().settings.proxy.public_url:
        own.add(f"//{urlsplit(public_url).netloc}".casefold())
    return f"//{origin.partition('://')[2]}".casefold() in own
