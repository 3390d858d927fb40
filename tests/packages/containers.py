"""The Containerfile, followed without a container engine: each stage on a machine of its own.

The machines have Debian and Python as the base images have, so that the very instructions can be run.
"""

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from string import Template
from typing import NamedTuple

from dockerfile_parse import DockerfileParser

from tests.packages.machines import PATH, SHARED, Machine, machine
from tests.support.servers import REPOSITORY

CONTAINERFILE = REPOSITORY / "Containerfile"
VOLUMES = ("/etc/recodex-fileserver", "/var/lib/recodex-fileserver")
"""What docs/packages.md mounts: one for the users, and that of the Containerfile."""

WHEELS = SHARED / "wheels"

_READ_ONLY = """
for volume; do mount --bind "$volume" "$volume"; done
mount -t tmpfs none /tmp
mount -o remount,bind,ro /
"""


class Instruction(NamedTuple):
    name: str
    value: str


def instructions() -> list[Instruction]:
    """What the Containerfile says, without comments."""
    parser = DockerfileParser(fileobj=BytesIO(CONTAINERFILE.read_bytes()))
    said = [Instruction(item["instruction"], item["value"]) for item in parser.structure]
    return [instruction for instruction in said if instruction.name != "COMMENT"]


class Stage:
    """A stage of the build, or at the end a container: a machine, and what the instructions say of it."""

    def __init__(self, made: Machine) -> None:
        self.machine = made
        self.env = {"PATH": PATH}
        self.folder = "/"
        self.said: dict[str, str] = {}

    def follow(self, instruction: Instruction, others: Mapping[str, "Stage"]) -> None:
        name, value = instruction
        if name == "ENV":
            for word in shlex.split(value):
                variable, _, text = word.partition("=")
                self.env[variable] = Template(text).substitute(self.env)
        elif name == "WORKDIR":
            self.folder = value
            self.machine.run("mkdir", "-p", value)
        elif name == "RUN":
            pins = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELS)}
            self.machine.run("sh", "-euc", value, env=self.env | pins, folder=self.folder)
        elif name == "COPY":
            self._copy(value.split(), others)
        else:
            self.said[name] = value

    def _copy(self, words: list[str], others: Mapping[str, "Stage"]) -> None:
        *sources, target = [word for word in words if not word.startswith("--from=")]
        if words[0].startswith("--from="):
            others[words[0].removeprefix("--from=")].machine.run("cp", "-a", *sources, SHARED / "copied")
            self.machine.run("mv", SHARED / "copied", target)
            return
        found = [SHARED / "context" / source for source in sources]
        self.machine.run("cp", "-R", *found, target, folder=self.folder)

    def seal(self, *volumes: str) -> None:
        """Let nothing be written from now on but to *volumes* and to an empty `/tmp`, as `--read-only` does."""
        self.machine.run("sh", "-euc", _READ_ONLY, "sh", *volumes)

    def words(self, name: str) -> list[str]:
        """The words of an instruction in the form of JSON."""
        return list(json.loads(self.said[name]))

    def command(self, *words: str) -> list[str]:
        """The command that runs a container of this image with *words* instead of CMD."""
        return self.machine.command(*self.words("ENTRYPOINT"), *words, env=self.env, user=self.said["USER"])


@contextmanager
def image(folder: Path, clone: Path) -> Iterator[Stage]:
    """The last stage of the Containerfile, made of *clone* in the new *folder*."""
    shared = folder / "shared"
    shutil.copytree(clone, shared / "context", ignore=shutil.ignore_patterns(".*", "build", "dist"))
    shutil.copytree(clone / ".venv" / "wheels", shared / "wheels")
    stages: dict[str, Stage] = {}
    with ExitStack() as machines:
        for instruction in instructions():
            if instruction.name == "FROM":
                stage = Stage(machines.enter_context(machine(folder / f"stage{len(stages)}", shared)))
                stages[instruction.value.rpartition(" AS ")[2]] = stage
            else:
                stage.follow(instruction, stages)
        stage.seal(*VOLUMES)
        yield stage
