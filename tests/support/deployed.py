"""The application behind real web servers, with the configurations that `mkconfig` makes."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.clients import CREDENTIALS
from tests.support.credentials import write_htpasswd
from tests.support.servers import REPOSITORY, free_port, gunicorn_server, running
from tests.support.targets import HttpServer

HTPASSWD = "FILESERVER_HTPASSWD_FILE"
GROUPS = "FILESERVER_GROUP_FILE"

NGINX = """\
daemon off;
user root;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    include site.conf;
}}
"""


def mkconfig(*arguments: object, env: Mapping[str, str] | None = None) -> str:
    """What `mkconfig.py` prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FILESERVER_")} | dict(env or {})
    command = [sys.executable, "mkconfig.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def group_option(settings: Mapping[str, str]) -> list[str]:
    """The option of mkconfig for the group file of *settings*."""
    return ["--group-file", settings[GROUPS]] if GROUPS in settings else []


@contextmanager
def nginx_server(directory: Path, *, env: Mapping[str, str] | None = None) -> Iterator[HttpServer]:
    """Run nginx in front of gunicorn. Clients that give no credentials send those of `CREDENTIALS`, unless the
    password file is that of the settings."""
    settings = dict(env or {})
    credentials = None if HTPASSWD in settings else CREDENTIALS
    port = free_port()
    folder = directory.with_name(f"nginx-{port}")  # whatever the name of the directory
    folder.mkdir()
    settings.setdefault(HTPASSWD, str(write_htpasswd(folder / "htpasswd")))
    settings |= {"FILESERVER_ACCEL_REDIRECT_PREFIX": "/_stored"}
    with gunicorn_server(directory, env=settings) as application:
        options = ["--working-directory", directory, "--htpasswd", settings[HTPASSWD], "--address", "127.0.0.1"]
        options += group_option(settings)
        options += ["--port", port, "--upstream", "{}:{}".format(*application.address)]
        (folder / "site.conf").write_text(mkconfig("nginx", *options, env=env))
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        with running(command, {}, folder / "nginx", port, credentials=credentials) as server:
            server.directory = directory
            server.behind.append(application)
            yield server


DEPLOYED = {"nginx": nginx_server}
