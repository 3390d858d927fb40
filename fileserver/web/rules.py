"""Which roles may use which route: the one table. `admin` may use all.

A route of the application without a row here is refused at start. HEAD goes with GET; OPTIONS is for whoever may use
one of the methods of the path; what is no route is answered alike to all who have a role.
"""

from collections.abc import Mapping

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from fileserver.core.roles import NO_ROLES, Role, Roles

ROUTE_METHODS = ("GET", "POST", "PUT", "DELETE")

_API = frozenset({Role.API})
_AUTHOR = frozenset({Role.AUTHOR})
_MONITOR = frozenset({Role.MONITOR})
_WORKER = frozenset({Role.WORKER})

_TABLE: Mapping[tuple[str, str], Roles] = {
    ("GET", "/"): _MONITOR,
    ("GET", "/healthz"): _MONITOR,
    ("GET", "/readyz"): _MONITOR,
    ("GET", "/metrics"): _MONITOR,
    ("GET", "/limits"): _MONITOR | _API | _AUTHOR,
    ("GET", "/static/<path:filename>"): _MONITOR,
    ("POST", "/submissions/<id>"): _API,
    ("GET", "/submissions/<id>"): _API,
    ("DELETE", "/submissions/<id>"): _API,
    ("GET", "/submissions/<id>/<path:path>"): _API,
    ("GET", "/submission_archives/<name>"): _API | _WORKER,
    ("PUT", "/results/<name>"): _API | _WORKER,
    ("GET", "/results/<name>"): _API,
    ("DELETE", "/results/<name>"): _API,
    ("POST", "/exercises"): _API | _AUTHOR,
    ("POST", "/tasks"): _API | _AUTHOR,
    ("GET", "/exercises"): _API | _AUTHOR,
    ("GET", "/tasks"): _API | _AUTHOR,
    ("POST", "/tasks/missing"): _API | _AUTHOR,
    ("GET", "/exercises/<sha1>"): _API | _AUTHOR | _WORKER,
    ("GET", "/tasks/<sha1>"): _API | _AUTHOR | _WORKER,
    ("DELETE", "/exercises/<sha1>"): _API,
    ("DELETE", "/tasks/<sha1>"): _API,
    ("PUT", "/attachments/<id>"): _API,
    ("GET", "/attachments/<id>"): _API,
    ("DELETE", "/attachments/<id>"): _API,
    ("GET", "/v1/worker-files/submission-archive/<type>/<id>"): _API | _WORKER,
    ("PUT", "/v1/worker-files/result/<type>/<id>"): _API | _WORKER,
    ("GET", "/v1/worker-files/exercise-file/<sha1>"): _API | _WORKER,
    ("POST", "/sign"): _API,
}

RULES: Mapping[tuple[str, str], Roles] = {route: roles | {Role.ADMIN} for route, roles in _TABLE.items()}
"""The roles that may use a route, by its method and its rule as Flask writes it."""

NOT_BY_LINK = frozenset({("POST", "/sign")})
"""What no link may stand for: it could make more of itself."""


def exact(routes: Map) -> Map:
    """Let *routes* redirect no path to a tidier one: a worker's PUT could not follow."""
    routes.merge_slashes = False
    routes.strict_slashes = True
    routes.redirect_defaults = False
    return routes


_ROUTES = exact(Map([Rule(rule, methods=[method], endpoint=rule) for method, rule in RULES]))


def roles_for(method: str, rule: str) -> Roles:
    """The roles that may ask *method* of a path that follows *rule*; none where there is no row."""
    if method == "OPTIONS":
        return NO_ROLES.union(*(roles for (_, other), roles in RULES.items() if other == rule))
    return RULES.get(("GET" if method == "HEAD" else method, rule), NO_ROLES)


def rule_of(method: str, path: str) -> str | None:
    """The rule that *path*, decoded, follows; None if there is no route for it and *method*."""
    try:
        rule, _ = _ROUTES.bind("localhost").match(path, method)
    except HTTPException:
        return None
    return str(rule)


def may_be_signed(method: str, rule: str) -> bool:
    """Whether a link may stand for this route: what the API server may use itself."""
    return Role.API in RULES.get((method, rule), NO_ROLES) and (method, rule) not in NOT_BY_LINK
