"""The keys that sign links."""

import os
import stat
from pathlib import Path

from fileserver.accounts.reloading import ReloadedFile, load
from fileserver.core.errors import SettingsError
from fileserver.core.signing import parse_keys

_SETTING = "signing_key_file"


class SigningKeys:
    """The keys of one file: the first one signs, all verify. Raises SettingsError if it cannot be used."""

    def __init__(self, path: Path) -> None:
        _refuse_open_file(path)
        self._keys = ReloadedFile(_SETTING, path, _parse)

    def all(self) -> tuple[bytes, ...]:
        """The keys as they are now."""
        return self._keys.value()


def _refuse_open_file(path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise SettingsError(f"{_SETTING} {path} cannot be used: {error.strerror}") from None
    if mode & stat.S_IRWXO:
        raise SettingsError(f"{_SETTING} {path} must not be open to everybody: chmod o= {path}")


def _parse(content: bytes) -> tuple[bytes, ...]:
    return parse_keys(content.decode())


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys in *path* now. Raises SettingsError."""
    _refuse_open_file(path)
    return load(_SETTING, path, _parse)
