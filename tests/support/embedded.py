"""Apache and uWSGI, which have the application inside, with the configurations that `mkconfig` makes."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.clients import CREDENTIALS
from tests.support.credentials import write_htpasswd
from tests.support.deployed import GROUPS, HTPASSWD, NGINX, group_option, mkconfig
from tests.support.servers import READY_SECONDS, REPOSITORY, free_port, running, wait_until
from tests.support.targets import HttpServer

_APACHE = """\
ServerRoot "{folder}"
ServerName localhost
PidFile "{folder}/apache.pid"
Mutex "file:{folder}"
User {user}
Group {user}
ErrorLog /dev/stderr
LoadModule mpm_event_module {modules}/mod_mpm_event.so
{loads}
TypesConfig /etc/mime.types
AddType application/x-httpd-php .php
AddHandler cgi-script .cgi
AddEncoding x-gzip .gz
AddLanguage de .de
LoadModule alias_module {modules}/mod_alias.so
Alias /icons/ "/usr/share/apache2/icons/"
<Directory "/usr/share/apache2/icons">
    Require all granted
</Directory>
LoadModule status_module {modules}/mod_status.so
<Location /server-status>
    SetHandler server-status
    Require all granted
</Location>
AddHandler server-status .zip
Include "{folder}/site.conf"
"""
_APACHE_MODULES = Path("/usr/lib/apache2/modules")
_LOADED = (
    "authn_core authn_file auth_basic authz_core authz_user authz_groupfile env headers "
    "mime reqtimeout rewrite setenvif ssl wsgi"
)
WEB_USER = "www-data"
KEYS = "FILESERVER_SIGNING_KEY_FILE"


def _web_user() -> str:
    """Who runs the servers: Debian's user for that, where that can be chosen."""
    return pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else WEB_USER


def system_environment() -> Path:
    """An environment of the system's Python, which Apache and uWSGI have inside, with what the project needs."""
    environment = Path(sys.prefix) / "deployed"
    assert (environment / "installed").exists(), f"make {environment}/installed"
    return environment


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that everybody gets into; those of pytest are its user's alone, and it sees to that again and again."""
    folder = Path(tempfile.mkdtemp(prefix="fileserver-test-"))
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _place(directory: Path) -> Iterator[tuple[Path, str]]:
    """A working directory that has the name and the content of *directory*, and the user whom it belongs to."""
    user = _web_user()
    with reachable_folder() as folder:
        place = folder / directory.name
        if directory.exists():
            shutil.copytree(directory, place)
        place.mkdir(exist_ok=True)
        for path in (place, *place.rglob("*")):
            shutil.chown(path, user, user)
        yield place, user


def _secured(folder: Path, env: Mapping[str, str] | None) -> tuple[dict[str, str], tuple[str, str] | None]:
    """The settings, with copies in *folder* of the files that tell who may come in. Without a password file there is
    one for `CREDENTIALS`, which then are sent by clients that give no others."""
    settings, user = dict(env or {}), _web_user()
    credentials = None if HTPASSWD in settings else CREDENTIALS
    settings.setdefault(HTPASSWD, str(write_htpasswd(folder / "passwords")))
    for name in {HTPASSWD, GROUPS, KEYS} & settings.keys():
        path = shutil.copy(settings[name], folder / name)
        shutil.chown(path, user, user)
        settings[name] = str(path)
    return settings, credentials


@contextmanager
def apache_server(
    directory: Path,
    *,
    env: Mapping[str, str] | None = None,
    options: Sequence[object] = (),
    environment: Path | None = None,
    may_fail: bool = False,
) -> Iterator[HttpServer]:
    """Run Apache with the application in it, on a copy of *directory*. Credentials as those of `nginx_server`.

    :param options: more options of mkconfig
    :param environment: where the fileserver is installed, if not in `system_environment`
    :param may_fail: stack traces in its log are expected
    """
    with _place(directory) as (place, user):
        folder, port = place.parent, free_port()
        settings, credentials = _secured(folder, env)
        arguments = [*_arguments(place, port, user, environment), "--htpasswd", settings[HTPASSWD], *options]
        arguments += group_option(settings)
        (folder / "site.conf").write_text(mkconfig("apache", *arguments, env=env))
        loads = "\n".join(f"LoadModule {name}_module {_APACHE_MODULES}/mod_{name}.so" for name in _LOADED.split())
        main = folder / "apache.conf"
        main.write_text(_APACHE.format(folder=folder, user=user, modules=_APACHE_MODULES, loads=loads))
        command = ["/usr/sbin/apache2", "-f", str(main)]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        command.append("-DFOREGROUND")
        environ = _environ(settings, environment)
        with running(command, environ, folder / "apache", port, credentials=credentials, may_fail=may_fail) as server:
            server.directory = place
            yield server


def _arguments(directory: Path, port: int, user: str, environment: Path | None) -> list[object]:
    arguments: list[object] = ["--working-directory", directory, "--address", "127.0.0.1", "--port", port]
    arguments += ["--virtualenv", environment or system_environment()]
    return arguments + (["--user", user] if user == WEB_USER else [])


def _environ(settings: Mapping[str, str], environment: Path | None) -> dict[str, str]:
    """The variables that a server gets: what is installed in an *environment* of its own needs no help."""
    return {**settings, **({} if environment else {"PYTHONPATH": str(REPOSITORY)})}


@contextmanager
def uwsgi_server(
    directory: Path,
    *,
    env: Mapping[str, str] | None = None,
    environment: Path | None = None,
) -> Iterator[HttpServer]:
    """Run uWSGI on a port, with a password file only if the settings name one; else as `apache_server`."""
    with _place(directory) as (place, user):
        folder, port, settings = place.parent, free_port(), dict(env or {})
        arguments = _arguments(place, port, user, environment)
        if HTPASSWD in settings:
            settings, _ = _secured(folder, settings)
            arguments += ["--htpasswd", settings[HTPASSWD], *group_option(settings)]
        (folder / "site.ini").write_text(mkconfig("uwsgi", *arguments, env=env))
        command = ["/usr/bin/uwsgi", "--ini", str(folder / "site.ini")]
        with running(command, _environ(settings, environment), folder / "uwsgi", port) as server:
            server.directory = place
            yield server


@contextmanager
def uwsgi_behind_nginx(directory: Path, *, env: Mapping[str, str] | None = None) -> Iterator[HttpServer]:
    """Run uWSGI on a unix socket, and nginx in front of it. Credentials as those of `nginx_server`."""
    with _place(directory) as (place, user):
        folder, port = place.parent, free_port()
        settings, credentials = _secured(folder, {**(env or {}), "FILESERVER_ACCEL_REDIRECT_PREFIX": "/_stored"})
        socket = folder / "run" / "socket"
        socket.parent.mkdir()
        shutil.chown(socket.parent, user, user)
        site = ["--working-directory", place, "--htpasswd", settings[HTPASSWD], *group_option(settings)]
        options = ["--virtualenv", system_environment(), "--user", user, "--socket", socket]
        (folder / "site.ini").write_text(mkconfig("uwsgi", *site, *options))
        options = ["--address", "127.0.0.1", "--port", port, "--upstream", f"unix:{socket}"]
        (folder / "site.conf").write_text(mkconfig("nginx", *site, *options, "--upstream-protocol", "uwsgi"))
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
        front = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        back = ["/usr/bin/uwsgi", "--ini", str(folder / "site.ini")]
        with (
            running(back, _environ(settings, None), folder / "uwsgi", port, await_ready=False),
            running(front, {}, folder / "nginx", port, credentials=credentials) as server,
        ):
            server.directory = place
            # This request is the application's alone.
            assert wait_until(lambda: server.get("/healthz?signature=").status != 502, READY_SECONDS)
            yield server


EMBEDDED = {"apache": apache_server, "uwsgi": uwsgi_server}
