"""Links that stand for one request until they expire, for those who have no password: /sign, and checking them.

A request with a parameter `signature` is decided by that alone.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from werkzeug.http import http_date

from fileserver.accounts.keys import SigningKeys
from fileserver.core.errors import InvalidRequest, InvalidSignature, LinkExpired, NotFound
from fileserver.core.names import quoted
from fileserver.core.roles import Role, Roles
from fileserver.core.settings import Settings
from fileserver.core.signing import is_signed, parse_expires, sign
from fileserver.web.bodies import small_body
from fileserver.web.context import services
from fileserver.web.rules import ROUTE_METHODS, may_be_signed, rule_of

blueprint = Blueprint("signed_urls", __name__)

DEFAULT_SECONDS = 3600
_KEY = "fileserver.signing_keys"
_MAX_QUESTION_BYTES = 16 * 1024
_LINK_ROLES: Roles = frozenset({Role.API})


@blueprint.post("/sign")
def sign_url() -> Response:
    """A link for a request that the API server may make itself."""
    keys = _keys()
    if not keys:
        raise NotFound("signing_key_file is not set: this server signs nothing")
    method, path, seconds = _asked()
    url, expires = signed_url(keys.all()[0], services().settings, method, path, seconds)
    answer = jsonify(url=url, expires_at=datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _asked() -> tuple[str, str, int]:
    try:
        question = json.loads(small_body(_MAX_QUESTION_BYTES))
        method, path = question["method"], question["path"]
        seconds = question.get("expires_in_seconds", DEFAULT_SECONDS)
        if type(method) is str and type(path) is str and type(seconds) is int:
            return method, path, seconds
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise InvalidRequest('the body must be JSON: {"method": "GET", "path": "/...", "expires_in_seconds": 3600}')


def signed_url(key: bytes, settings: Settings, method: str, path: str, seconds: int) -> tuple[str, int]:
    """The link for *method* and *path*, percent-encoded as in any link, and when it expires, in seconds since 1970.

    It is absolute if `public_url` is set. Raises InvalidRequest for what cannot be signed.
    """
    decoded = unquote_to_bytes(path)
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"the path {quoted(path)} is not UTF-8") from None
    if not path.startswith("/") or text.startswith("//") or "?" in path or "#" in path:
        raise InvalidRequest(f"the path {quoted(path)} must begin with one slash, and have no ? or #")
    rule = rule_of(method, text) if method in ROUTE_METHODS else None
    if rule is None or not may_be_signed(method, rule):
        raise InvalidRequest(f"{quoted(method)} {quoted(path)} is no route of this server that a link can stand for")
    if not 1 <= seconds <= settings.auth.max_signed_seconds:
        raise InvalidRequest(f"max_signed_seconds: a link may hold for 1 to {settings.auth.max_signed_seconds} seconds")
    expires = int(time.time()) + seconds
    signature = sign(key, method, decoded, expires)
    prefix = (settings.proxy.public_url or "").rstrip("/")
    return f"{prefix}{quote(decoded)}?expires={expires}&signature={signature}", expires


def is_link() -> bool:
    """Whether the current request is to be decided by a signature."""
    return "signature" in request.args


def link_roles() -> Roles:
    """The roles of the signed link that is the current request. Raises InvalidSignature, LinkExpired."""
    keys = _keys()
    if not keys:
        raise InvalidSignature("signing_key_file is not set: this server accepts no signatures")
    method = "GET" if request.method == "HEAD" else request.method
    path = request.environ["PATH_INFO"].encode("latin-1")
    arguments = request.args.to_dict(flat=False)
    expires = parse_expires(_single(arguments.get("expires")))
    if (
        set(arguments) != {"expires", "signature"}
        or expires is None
        or not is_signed(keys.all(), method, path, expires, _single(arguments["signature"]))
        or (request.url_rule and not may_be_signed(method, request.url_rule.rule))
    ):
        raise InvalidSignature("the signature is not one for this method, path and time")
    if expires > time.time() + services().settings.auth.max_signed_seconds:
        raise InvalidSignature("max_signed_seconds: the link would hold for longer than this server allows")
    if expires <= time.time():
        raise LinkExpired(f"the link has expired on {http_date(expires)}; ask for a new one")
    return _LINK_ROLES


def _single(values: Sequence[str] | None) -> str:
    return values[0] if values and len(values) == 1 else ""


def _keys() -> SigningKeys | None:
    return current_app.extensions.get(_KEY)


def register_signed_urls(app: Flask, settings: Settings) -> None:
    """Let *app* sign and accept links, if there are keys. Raises SettingsError."""
    if settings.auth.signing_key_file:
        app.extensions[_KEY] = SigningKeys(settings.auth.signing_key_file)

    @app.after_request
    def keep_links_secret(response: Response) -> Response:
        if is_link():
            response.headers["Referrer-Policy"] = "no-referrer"
            # A shared cache would go on answering after the link has expired.
            kept = response.headers.get("Cache-Control")
            response.headers["Cache-Control"] = f"private, {kept}" if kept else "private, no-cache"
        return response
