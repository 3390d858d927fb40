"""`mkconfig`: what it takes, what it refuses, and that no value can become a part of the configuration."""

import subprocess
import sys
from pathlib import Path

import pytest

from fileserver.deploy.readers import READERS
from fileserver.web.rules import RULES
from tests.support.deployed import mkconfig
from tests.support.servers import REPOSITORY, free_port

REFUSED = {
    "a new line in a path": ["--working-directory", "/srv/x\n}\nserver {"],
    "a variable in a path": ["--working-directory", "/srv/$host"],
    "an empty path": ["--working-directory", ""],
    "no working directory": ["--port", "80"],
    "a port that is none": ["--working-directory", "/srv", "--port", "80; deny all"],
    "a port out of range": ["--working-directory", "/srv", "--port", "65536"],
    "a name that is none": ["--working-directory", "/srv", "--server-name", "a; deny all"],
    "a pattern of names": ["--working-directory", "/srv", "--server-name", "*.example.org"],
    "a key without a certificate": ["--working-directory", "/srv", "--tls-key", "/k"],
    "a certificate without a key": ["--working-directory", "/srv", "--tls-certificate", "/c"],
    "everybody everywhere": ["--working-directory", "/srv", "--address", "0.0.0.0"],
    "an upstream that is none": ["--working-directory", "/srv", "--upstream", "nowhere"],
}


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "mkconfig.py", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


@pytest.mark.server
@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(case: str) -> None:
    done = run("nginx", *REFUSED[case])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


def test_without_a_password_file_only_this_machine_is_listened_to() -> None:
    assert "listen 127.0.0.1:80;" in mkconfig("nginx", "--working-directory", "/srv")
    assert "listen 80;" in mkconfig("nginx", "--working-directory", "/srv", "--htpasswd", "/etc/htpasswd")
    assert "listen 80;" in mkconfig("nginx", "--working-directory", "/srv", "--insecure-no-auth")


def test_paths_are_made_absolute_and_limits_come_from_the_settings() -> None:
    text = mkconfig("nginx", "--working-directory", "work", env={"FILESERVER_MAX_REQUEST_BYTES": "12345"})
    assert f'root "{REPOSITORY}/work";' in text
    assert "client_max_body_size 12345;" in text


def test_the_output_may_be_a_file(tmp_path: Path) -> None:
    target = tmp_path / "site.conf"
    target.write_text("old")
    done = run("nginx", "--working-directory", "/srv", "--output", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert target.read_text() == mkconfig("nginx", "--working-directory", "/srv")
    assert [path.name for path in tmp_path.iterdir()] == ["site.conf"]


@pytest.mark.server
@pytest.mark.parametrize("name", ["plain", "with spaces", 'a"quote', "back\\slash", "semi;colon", "br{ace}", "ä", "#"])
def test_nginx_reads_every_path_as_one_value(tmp_path: Path, name: str) -> None:
    """nginx opens the certificate that it is told; its complaint tells which path it has understood."""
    port = free_port()
    options = ["--working-directory", tmp_path / name, "--address", "127.0.0.1", "--port", port]
    options += ["--tls-certificate", tmp_path / name / "certificate", "--tls-key", tmp_path / name / "key"]
    (tmp_path / "site").write_text(mkconfig("nginx", *options))
    (tmp_path / "conf").write_text("events {}\nhttp { include site; }\n")
    command = ["nginx", "-t", "-p", str(tmp_path), "-c", str(tmp_path / "conf"), "-e", "stderr"]
    told = subprocess.run(command, capture_output=True, text=True).stderr
    assert f'cannot load certificate "{tmp_path / name / "certificate"}"' in told


def test_who_reads_from_the_disk_may_do_so_by_the_rules_of_the_application() -> None:
    paths = {
        "tasks": "/tasks/<sha1>",
        "submission_archives": "/submission_archives/<name>",
        "results": "/results/<name>",
    }
    assert {folder: set(roles) for folder, roles in READERS.items()} == {
        folder: set(RULES["GET", path]) for folder, path in paths.items()
    }
