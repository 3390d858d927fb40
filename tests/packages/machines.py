"""This machine once more, to install packages on for real: what is written there is kept in memory, and vanishes."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.packages.building import run
from tests.support.gaps import not_possible

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SHARED = Path("/mnt")
"""Where a machine finds the folder that it shares with this one."""

_MOUNTS = """
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" none "$1/root"
mount --rbind /dev "$1/root/dev"
mount -t proc none "$1/root/proc"
mount --bind "$2" "$1/root$3"
echo ready
exec cat
"""


class Machine:
    """A machine that has the processes, users and network of this one, and a disk of its own."""

    def __init__(self, root: Path, holder: int) -> None:
        self._root = root
        self._holder = holder

    def command(
        self, *words: object, env: Mapping[str, str] | None = None, user: str = "0:0", folder: object = "/"
    ) -> list[str]:
        """The command that runs *words* there: with no environment but *env*, as *user* and its group, in *folder*."""
        enter = ["nsenter", f"--mount=/proc/{self._holder}/ns/mnt"]
        enter += ["chroot", f"--userspec={user}", str(self._root), "env", "-i", f"--chdir={folder}"]
        given = {"PATH": PATH, "HOME": "/", "LC_ALL": "C.UTF-8", **(env or {})}
        return [*enter, *(f"{name}={value}" for name, value in given.items()), *map(str, words)]

    def run(self, *words: object, given: str = "", **options: Any) -> str:
        """Run *words* there as `command` has it, with *given* as input, and return what is printed.

        AssertionError if it fails.
        """
        return run(self.command(*words, **options), Path("/"), given)


@contextmanager
def machine(folder: Path, shared: Path) -> Iterator[Machine]:
    """A new machine, mounted at *folder*; the folder *shared* of this one is at `SHARED` there."""
    if os.geteuid():
        not_possible("installing a package needs root")
    folder.mkdir()
    command = ["unshare", "--mount", "sh", "-euc", _MOUNTS, "sh", folder, shared, SHARED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n", "this machine allows no mounts"
        yield Machine(folder / "root", holder.pid)
        # Its input ends here, and so does it; the mounts go with their last process.
