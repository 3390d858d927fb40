"""Who asks, and whether it may: each request has a caller, and each route the roles that may use it."""

from dataclasses import dataclass
from typing import cast

from flask import Flask, g, request

from fileserver.core.errors import RoleMissing
from fileserver.core.roles import Role, Roles
from fileserver.web.rules import RULES, roles_for

_IMPLIED = {"HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Caller:
    """Who asks, with the roles that it has: a user, a link (which has no name), or anybody."""

    name: str | None
    roles: Roles


def caller() -> Caller:
    """Who makes the current request."""
    return cast(Caller, g.caller)


def require_role(who: Caller) -> None:
    """Let *who* make the current request. Raises RoleMissing, which names the roles that could."""
    g.caller = who
    if not who.roles:
        raise RoleMissing("the user has no role, and every path needs one")
    if request.url_rule is None:
        return  # Neither a route nor a secret: 404 or 405 follows.
    allowed = roles_for(request.method, request.url_rule.rule)
    if not who.roles & allowed:
        # In the order of the roles, not of a set.
        names = " or ".join(role for role in Role if role in allowed)
        raise RoleMissing(f"{request.method} {request.url_rule.rule} needs the role {names}")


def require_rules(app: Flask) -> None:
    """Raise LookupError if a route of *app* has no row in the table of roles: a defect, told at start."""
    routes = {(method, rule.rule) for rule in app.url_map.iter_rules() for method in (rule.methods or set()) - _IMPLIED}
    if missing := sorted(routes - set(RULES)):
        raise LookupError(f"no role may use {' '.join(missing[0])}: it has no row in fileserver.web.rules")
