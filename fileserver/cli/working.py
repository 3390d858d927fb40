"""The working directory of a command that works on one, whether its server runs or not."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fileserver.configuration import load_settings
from fileserver.core.errors import SettingsError
from fileserver.services import Services, build_services

EXIT_DAMAGED = 3
"""Something is damaged, missing, or does not belong."""


@contextmanager
def open_services(group_directory: Path | None, directory: Path | None) -> Iterator[Services]:
    """The services of the working directory given after the command, before it, or in the settings.

    Raises SettingsError if there is none yet: a wrong path must not look like an empty directory.
    """
    settings = load_settings(flags={"working_directory": directory or group_directory})
    root = settings.storage.working_directory
    if root is not None and not (root / "staging").is_dir():
        raise SettingsError(f"{root} is not a working directory: there is no folder staging in it")
    with closing(build_services(settings)) as services:
        yield services
