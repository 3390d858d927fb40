"""The few file system calls that durability and safety hang on. Linux only.

Nothing here follows a symbolic link in the last component of a path; `open_below` follows none at all.
"""

import ctypes
import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fileserver.core.errors import SettingsError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UTIME_OMIT = (1 << 30) - 2
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_FLAGS = _READ_FLAGS | os.O_DIRECTORY

SECOND_NS = 10**9

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Modes:
    """Permissions of what the server creates, whatever the process's umask."""

    file: int = 0o640
    directory: int = 0o750


def fsync_directory(path: Path) -> None:
    """Make the names in the directory *path* durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: Path) -> None:
    """Make the content of the file *path* durable; its name is the business of its directory."""
    fd = os.open(path, _READ_FLAGS)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def raise_error(error: OSError) -> None:
    """For os.walk, which otherwise leaves out what it cannot list."""
    raise error


def fsync_tree(root: Path) -> None:
    """Make all below and including the directory *root* durable, leaves first."""
    for folder, _, names in os.walk(root, topdown=False, onerror=raise_error):
        for name in names:
            fsync_file(Path(folder, name))
        fsync_directory(Path(folder))


def create_file(path: Path, mode: int) -> int:
    """Create the file *path*, which must not exist, and return a descriptor to write and read it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
    except OSError:
        os.close(fd)
        raise
    return fd


def make_directory(path: Path, mode: int) -> None:
    """Create the directory *path* and its missing parents, each with *mode*; not yet durable."""
    try:
        _make_one_directory(path, mode)
    except FileNotFoundError:
        make_directory(path.parent, mode)
        _make_one_directory(path, mode)


def _make_one_directory(path: Path, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "there is something else than a directory", str(path)) from None
    else:
        os.chmod(path, mode)


def make_directory_durable(path: Path, mode: int) -> None:
    """As `make_directory`, and the names survive a power cut, also if another process has just made them."""
    if not path.parent.is_dir():
        make_directory_durable(path.parent, mode)
    make_directory(path, mode)
    # A parent that may not be opened was there before this server.
    with suppress(PermissionError):
        fsync_directory(path.parent)


def open_state_file(path: Path) -> int:
    """Open the small file *path* of the server itself, made anew with its folder if somebody removed them."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        make_directory(path.parent, 0o700)
        return os.open(path, flags, 0o600)


def open_below(root: Path, relative: str, *, unnoticed: bool = False) -> int:
    """Open the regular file *relative* below *root* for reading, through no symbolic link.

    *unnoticed*: reading does not count as an access, where the system allows that. Raises FileNotFoundError for
    everything that is not a regular file reached that way.
    """
    *folders, name = relative.split("/")
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER_FLAGS, dir_fd=at)
            os.close(at)
            at = below
        fd = _open_file(name, at, unnoticed)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG):
            raise FileNotFoundError(errno.ENOENT, "not a regular file") from error
        raise
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return fd


def _open_file(name: str, folder: int, unnoticed: bool) -> int:
    # Without O_NONBLOCK the open of a FIFO would wait for its writer.
    flags = _READ_FLAGS | os.O_NONBLOCK
    if unnoticed:
        with suppress(PermissionError):  # It is allowed to the owner of the file only.
            return os.open(name, flags | os.O_NOATIME, dir_fd=folder)
    return os.open(name, flags, dir_fd=folder)


def exchange(one: Path, other: Path) -> None:
    """Swap two names in one atomic step, renameat2(2) with RENAME_EXCHANGE; both must exist on one file system."""
    _check(_libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE))


def set_access_time(fd: int, time_ns: int) -> None:
    """Set the access time of the open file, and no other: os.utime would take back an edit of the same moment."""
    access, modification = divmod(time_ns, 10**9), (0, _UTIME_OMIT)
    _check(_libc.futimens(fd, (ctypes.c_long * 4)(*access, *modification)))


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def later_second(mtime_ns: int, before_ns: int) -> int:
    """The time *mtime_ns* if it lies in a later second than *before_ns*, else the beginning of the next second.

    Web servers that serve files tell their versions apart by the second of their modification, and so do HTTP dates.
    """
    next_second_ns = (before_ns // SECOND_NS + 1) * SECOND_NS
    return max(mtime_ns, next_second_ns)


def require_exchange(folder: Path) -> None:
    """Raise SettingsError unless the file system can swap two names atomically, here in the empty *folder*."""
    one, other = folder / "one", folder / "other"
    one.mkdir()
    other.mkdir()
    try:
        exchange(one, other)
    except (AttributeError, OSError) as error:
        raise SettingsError(
            "the working directory's file system cannot swap two folders atomically "
            f"({error}); use ext4, xfs, btrfs or tmpfs on Linux"
        ) from None


def free_and_total_bytes(folder: Path) -> tuple[int, int]:
    """The bytes that this process may still write on the file system of *folder*, and its size in bytes."""
    info = os.statvfs(folder)
    return info.f_bavail * info.f_frsize, info.f_blocks * info.f_frsize
