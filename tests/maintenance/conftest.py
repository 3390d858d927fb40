"""Fixtures: services on a working directory of their own, as the tests of the storage have them."""

import pytest

from fileserver.services import Services
from tests.maintenance.rot import fill
from tests.storage.conftest import _no_descriptor_is_leaked, make_services, root, services

__all__ = ["_no_descriptor_is_leaked", "make_services", "root", "services"]


@pytest.fixture
def filled(services: Services) -> Services:
    """The services on a working directory with something of everything; see `rot.fill`."""
    fill(services)
    return services
