"""Small files of an admin that are read anew when they change."""

import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from fileserver.core.errors import SettingsError

log = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024 * 1024

_Value = TypeVar("_Value")


class ReloadedFile(Generic[_Value]):
    """What *parse* makes of the content of one file, always as the file is now.

    *setting* is the name of the setting that names the file. *parse* raises ValueError for content that cannot be
    used: at start that is a SettingsError, later the last good value stays, with one error in the log.
    """

    def __init__(self, setting: str, path: Path, parse: Callable[[bytes], _Value]) -> None:
        self._setting = setting
        self._path = path
        self._parse = parse
        self._loading = threading.Lock()
        self._changed = _signature(path)
        self._value = self._load()

    def value(self) -> _Value:
        """The value for the file as it is now. While one thread reads it anew, the others get the value before."""
        if self._changed != _signature(self._path) and self._loading.acquire(blocking=False):
            try:
                self._reload()
            finally:
                self._loading.release()
        return self._value

    def _reload(self) -> None:
        # What changes while it is read is read once more.
        self._changed = _signature(self._path)
        try:
            self._value = self._load()
        except SettingsError as error:
            log.error("%s; what was read before stays in force", error)
        else:
            log.info("%s was read anew", self._setting)

    def _load(self) -> _Value:
        return load(self._setting, self._path, self._parse)


def load(setting: str, path: Path, parse: Callable[[bytes], _Value]) -> _Value:
    """What *parse* makes of the file *path*, which *setting* names. Raises SettingsError."""
    try:
        # Without O_NONBLOCK the open of a FIFO would wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is not a regular file")
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        return parse(content)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{setting} {path} cannot be used: {reason}") from None


def _signature(path: Path) -> tuple[int, ...] | None:
    """What changes when the file does; None if there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns
