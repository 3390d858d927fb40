"""Small file systems in files, and what a power cut leaves of them.

What a file system has not yet sent to its device is in the kernel's cache, and not in the file that the loop device
writes to. So a copy of the file is what a disk holds after a power cut.
"""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# Nothing reaches the disk unasked: no flush of a file that replaces another, no commit before five minutes have passed.
LAZY = ("noauto_da_alloc", "commit=300")


class Kind(NamedTuple):
    """A kind of file system: how it is made, how large it must be at least, and how it is told to be lazy."""

    mkfs: tuple[str, ...]
    mib: int
    lazy: tuple[str, ...]


KINDS = {
    "ext4": Kind(("mkfs.ext4", "-q", "-F"), 8, LAZY),
    "xfs": Kind(("mkfs.xfs", "-q"), 300, ()),
    "btrfs": Kind(("mkfs.btrfs", "-q"), 200, ("commit=300",)),
}


def run(*command: str | Path) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


class Disk:
    """A mounted file system."""

    def __init__(self, image: Path, options: Sequence[str]) -> None:
        self.image = image
        self.root = image.with_suffix("")
        """Where it is mounted."""
        self.options = options
        self.root.mkdir()
        try:
            run("mount", "-o", ",".join(["loop", *options]), image, self.root)
        except AssertionError:
            self.root.rmdir()
            raise

    def remove(self) -> None:
        """Unmount it, lazily if somebody still uses it, and delete its image."""
        try:
            run("umount", self.root)
        except AssertionError:
            run("umount", "--lazy", self.root)
            raise
        finally:
            self.image.unlink()


class Disks:
    """The disks of one test, below *folder*; `close` removes those that it has left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self._mounted: list[Disk] = []

    def make(self, mib: int, *, mkfs: Sequence[str] = (), options: Sequence[str] = (), kind: str = "ext4") -> Disk:
        """A new file system of *mib* MiB or the least, made with the options *mkfs* and mounted with *options*."""
        image = self._new_image()
        with image.open("wb") as file:
            os.truncate(file.fileno(), max(mib, KINDS[kind].mib) << 20)
        run(*KINDS[kind].mkfs, *mkfs, image)
        return self._mount(image, options)

    def cut_power(self, disk: Disk) -> Disk:
        """What is on *disk* if the power fails now, mounted again in its place; nobody may use it any more."""
        image = self._new_image()
        run("cp", "--sparse=always", disk.image, image)
        # First: some file systems do not tell two of one origin apart.
        self.remove(disk)
        return self._mount(image, disk.options)

    def _new_image(self) -> Path:
        self._made += 1
        return self._folder / f"disk-{self._made}.img"

    def _mount(self, image: Path, options: Sequence[str]) -> Disk:
        disk = Disk(image, options)
        self._mounted.append(disk)
        return disk

    def remove(self, disk: Disk) -> None:
        self._mounted.remove(disk)
        disk.remove()

    def close(self) -> None:
        for disk in reversed(self._mounted):
            with suppress(AssertionError):
                disk.remove()
        self._mounted.clear()


def why_not(folder: Path) -> str | None:
    """Why no file system can be mounted on a loop device here; None if it can."""
    disks = Disks(folder)
    try:
        disks.make(8)
    except (AssertionError, OSError) as error:
        return str(error).strip()
    finally:
        disks.close()
    return None
