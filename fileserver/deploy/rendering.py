"""From a deployment to the text of a configuration file.

Whatever a template writes passes the quoting of its format: `{{ socket }}` comes out quoted without further ado, and
what is already markup, made by a filter or a macro, is left as it is.
"""

import dataclasses
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fileserver.core.errors import SettingsError
from fileserver.deploy import quoting
from fileserver.deploy.deployment import Deployment, option
from fileserver.deploy.embedded import in_apache, in_uwsgi
from fileserver.deploy.processes import of_logs, of_services
from fileserver.deploy.readers import in_nginx

Quote = Callable[[str], Markup]


@dataclass(frozen=True)
class Format:
    """A kind of configuration: its template, and how its values are written."""

    template: str
    quote: Quote
    more: Callable[[Deployment], dict[str, Any]]


FORMATS = {
    "nginx": Format("nginx.conf.j2", quoting.nginx, in_nginx),
    "apache": Format("apache.conf.j2", quoting.apache, in_apache),
    "gunicorn": Format("gunicorn.conf.py.j2", quoting.python, of_services),
    "systemd": Format("systemd.service.j2", quoting.systemd, of_services),
    "logrotate": Format("logrotate.j2", quoting.logrotate, of_logs),
    "uwsgi": Format("uwsgi.ini.j2", quoting.uwsgi, in_uwsgi),
}


def render(name: str, deployment: Deployment) -> str:
    """The configuration of the format *name*. Raises SettingsError for a value that cannot be written in it."""
    chosen = FORMATS[name]
    for field, text in _texts(deployment):
        try:
            chosen.quote(text)
        except ValueError as error:
            raise SettingsError(f"{option(field)}: {error}") from None
    template, more = _environment(chosen.quote).get_template(chosen.template), chosen.more(deployment)
    try:
        return template.render(deployment=deployment, **more)
    except ValueError as error:
        raise SettingsError(f"a value in a file cannot be written: {error}") from None


def _texts(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """Every text in *deployment*, with the name of its field."""
    for item in dataclasses.fields(deployment):
        value = getattr(deployment, item.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.astuple(value)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, str | Path):
                yield item.name, str(part)


def _environment(quote: Quote) -> Environment:
    def written(value: Any) -> Any:
        if isinstance(value, Markup) or type(value) is int:
            return value
        if isinstance(value, str | Path):
            return quote(str(value))
        raise TypeError(f"{value!r} cannot be written")  # A mistake in a template, such as a value that is None.

    environment = Environment(
        loader=PackageLoader("fileserver.deploy"),
        undefined=StrictUndefined,
        finalize=written,
        # It makes macros return markup; nothing is left to escape.
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shell"] = lambda value: Markup(shlex.quote(str(value)))
    environment.filters["bare"] = _bare
    environment.filters["pattern"] = lambda value: quote(re.escape(str(value)))
    return environment


def _bare(value: object) -> Markup:
    """A word that means itself in every format. Raises TypeError for another: that is a mistake in a template."""
    if not re.fullmatch(r"[\w.:\[\]-]+", str(value), re.ASCII):
        raise TypeError(f"{value!r} needs quotes")
    return Markup(str(value))
