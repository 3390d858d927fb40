"""The working directory of a command that works on one, whether its server runs or not."""

import os
import pwd
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fileserver.configuration import load_settings
from fileserver.core.errors import SettingsError
from fileserver.services import Services, build_services

EXIT_DAMAGED = 3
"""Something is damaged, missing, or does not belong."""

_TELLING = ("staging", "submissions", "exercises")
"""By these a working directory is known, also one of the original server."""


@contextmanager
def open_services(group_directory: Path | None, directory: Path | None) -> Iterator[Services]:
    """The services of the working directory given after the command, before it, or in the settings.

    Raises SettingsError if there is none yet: a wrong path must not look like an empty directory. So it does if it
    belongs to another user, even for root: what a command creates the server must be able to open.
    """
    settings = load_settings(flags={"working_directory": directory or group_directory})
    if settings.storage.working_directory is not None:
        _refuse_wrong_directory(settings.storage.working_directory)
    with closing(build_services(settings)) as services:
        yield services


def _refuse_wrong_directory(root: Path) -> None:
    try:
        owner = root.stat().st_uid
    except OSError as error:
        raise SettingsError(f"{root} is not a working directory: {error.strerror}") from None
    if not any((root / name).is_dir() for name in _TELLING):
        raise SettingsError(f"{root} is not a working directory: it has none of the folders {', '.join(_TELLING)}")
    if owner != os.geteuid():
        raise SettingsError(f"{root} belongs to user {_user_name(owner)}: run this command as that user")


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
