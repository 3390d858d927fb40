"""The composition root: settings in, application out."""

import os
from typing import cast

from flask import Flask, request
from werkzeug.exceptions import BadRequest

from fileserver.configuration import load_settings
from fileserver.core.settings import Settings
from fileserver.services import build_services
from fileserver.web import attachments, home, results, submissions, task_files, worker_files
from fileserver.web.auth import register_authentication
from fileserver.web.bodies import refuse_bad_length, register_bodies
from fileserver.web.context import attach_services
from fileserver.web.problems import register_errors

_MODULES = (home, submissions, results, task_files, attachments, worker_files)


def create_app(source: Settings | str | os.PathLike[str] | None = None) -> Flask:
    """Make the WSGI application of one working directory.

    *source* is the Settings, or the working directory (all else from the environment), or None for the environment
    alone. Raises SettingsError.
    """
    if not isinstance(source, Settings):
        source = load_settings(flags={"working_directory": source})
    app = Flask(__name__, static_folder="web/static", template_folder="web/templates")
    # A worker's PUT cannot follow a redirect, so that no path is ever redirected to a tidier one.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    app.url_map.redirect_defaults = False
    attach_services(app, build_services(source))
    register_errors(app)
    # In this order: the body is opened first, so that a refusal can read it to its end; then nobody without
    # credentials learns more than that.
    register_bodies(app)
    register_authentication(app, source.auth.htpasswd_file)
    app.before_request(refuse_bad_length)
    app.before_request(refuse_unreadable_path)
    for module in _MODULES:
        app.register_blueprint(module.blueprint)
    return app


def refuse_unreadable_path() -> None:
    """Raise BadRequest for a path that is not UTF-8: replaced characters would make different names equal."""
    try:
        cast(str, request.environ["PATH_INFO"]).encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise BadRequest("the path is not UTF-8") from None
