"""A file server for grading systems. `create_app` makes the WSGI application."""

from fileserver._version import __version__
from fileserver.app import create_app

__all__ = ["__version__", "create_app"]
