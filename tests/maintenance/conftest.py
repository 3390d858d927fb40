"""Fixtures: services on a working directory of their own, as the tests of the storage have them."""

from tests.storage.conftest import _no_descriptor_is_leaked, make_services, root, services

__all__ = ["_no_descriptor_is_leaked", "make_services", "root", "services"]
