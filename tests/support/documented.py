"""The command blocks of docs/deployment.md, run in a folder that stands for the root of a machine."""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.support.embedded import WEB_USER
from tests.support.servers import REPOSITORY

PAGE = REPOSITORY / "docs" / "deployment.md"
PASSWORD = "a documented secret"

_SHIMS = {
    "systemctl": 'echo "$*" >> {root}/systemctl.log',
    "apt-get": "exec /usr/bin/apt-get --simulate -qq $*",
    "nginx": "exec /usr/sbin/nginx -e stderr -c {root}/etc/nginx/nginx.conf $*",
}
"""What stands in for programs that would change this machine, or that know of its own files only."""

_APACHE_PLACES = {"RUN_DIR": "run", "LOCK_DIR": "run", "LOG_DIR": "log", "PID_FILE": "run/apache.pid"}


def blocks() -> list[tuple[str, str]]:
    """The code blocks of the page, each with what stands behind its fence: `sh` and a kind."""
    return re.findall(r"^```(.*)\n((?:.*\n)*?)^```$", PAGE.read_text(), re.MULTILINE)


_QUESTION = re.compile(rb"(password|confirmation)[^\n]*: ?$", re.IGNORECASE)


class Machine:
    """A folder *root* with a clone of the sources, and with what Debian's packages put into /etc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("opt", "srv", "etc/systemd/system", "etc/logrotate.d", "log", "var/log/nginx", "bin"):
            (root / name).mkdir(parents=True)
        for name in ("etc/uwsgi/apps-available", "etc/uwsgi/apps-enabled"):
            (root / name).mkdir(parents=True)
        for name in ("run", "run/recodex-fileserver", "run/uwsgi/app/fileserver"):
            (root / name).mkdir(parents=True, exist_ok=True)
            shutil.chown(root / name, WEB_USER, WEB_USER)
        for name, text in _SHIMS.items():
            (root / "bin" / name).write_text(f"#!/bin/sh\n{text.format(root=root)}\n")
            (root / "bin" / name).chmod(0o755)
        self._clone()
        self._configure()

    def _clone(self) -> None:
        clone = self.root / "clone"
        shutil.copytree(REPOSITORY / "fileserver", clone / "fileserver", ignore=lambda *_: ["__pycache__"])
        for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / name, clone)
        (clone / "result.zip").write_bytes(b"a result")

    def _configure(self) -> None:
        """Copy the configurations of Debian; their own sites, on port 80, are left out."""
        for name in ("apache2", "nginx"):
            shutil.copytree(f"/etc/{name}", self.root / "etc" / name, symlinks=True)
            for site in (self.root / "etc" / name / "sites-enabled").iterdir():
                site.unlink()
        (self.root / "etc" / "apache2" / "ports.conf").write_text("")
        with (self.root / "etc" / "apache2" / "envvars").open("a") as file:
            for name, place in _APACHE_PLACES.items():
                file.write(f"export APACHE_{name}={self.root / place}\n")
        main = self.root / "etc" / "nginx" / "nginx.conf"
        main.write_text(self.rewritten(main.read_text()))

    def rewritten(self, text: str, port: int = 0) -> str:
        """*text* with its absolute paths below the root, and *port* in the place of the documented one."""
        text = re.sub(r"(?<![\w/])/(opt|srv|etc|run|var/log)/", rf"{self.root}/\1/", text)
        return text.replace("8080", str(port))

    def run(self, kind: str, port: int = 0) -> str:
        """Run the blocks of one *kind*, each in a shell; return what they have printed."""
        scripts = [text for fence, text in blocks() if fence == f"sh {kind}"]
        assert scripts, kind
        return "".join(self._run(self.rewritten(script, port)) for script in scripts)

    def _run(self, script: str) -> str:
        """Run *script* at a terminal of its own, as passwords are asked for there; return what it has shown."""
        terminal, end = os.openpty()
        command = ["setsid", "--ctty", "--wait", "sh", "-euc", script]
        clone, env = self.root / "clone", self.environment()
        with subprocess.Popen(command, cwd=clone, env=env, stdin=end, stdout=end, stderr=end) as process:
            os.close(end)
            shown = _answer(terminal)
        assert process.returncode == 0, shown
        return shown

    def environment(self) -> dict[str, str]:
        """The variables of this process without settings, and those that tell Apache's tools where they are."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FILESERVER_")}
        places = {
            "APACHE_CONFDIR": str(self.root / "etc" / "apache2"),
            "APACHE_STATE_DIRECTORY": str(self.root / "log"),
        }
        return {**kept, **places, "PATH": f"{self.root / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin"}

    def asked_of_systemd(self) -> str:
        """What systemctl was told so far."""
        return (self.root / "systemctl.log").read_text()


def _answer(terminal: int) -> str:
    """Answer each question for a password, until nobody is at the other end; return what was shown."""
    shown = b""
    with os.fdopen(terminal, "r+b", buffering=0) as file, suppress(OSError):  # The end is told as an error.
        while new := file.read(4096):
            shown += new
            if _QUESTION.search(shown):
                file.write(f"{PASSWORD}\n".encode())
    return shown.decode()
