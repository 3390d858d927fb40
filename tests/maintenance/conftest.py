"""Fixtures: services on a working directory of their own, as the tests of the storage have them."""

from pathlib import Path

import pytest

from fileserver.services import Services
from tests.maintenance.rot import fill
from tests.maintenance.snapshots import Backups
from tests.storage.conftest import _no_descriptor_is_leaked, make_services, root, services

__all__ = ["_no_descriptor_is_leaked", "make_services", "root", "services"]


@pytest.fixture
def filled(services: Services) -> Services:
    """The services on a working directory with something of everything; see `rot.fill`."""
    fill(services)
    return services


@pytest.fixture
def backups(services: Services, tmp_path: Path) -> Backups:
    """Backups of `services`."""
    return Backups(services, tmp_path / "backups")
