"""All the ways to run the application that the same tests are for."""

from tests.support.deployed import DEPLOYED
from tests.support.embedded import EMBEDDED
from tests.support.servers import development_server, gunicorn_server

FROM_DISK = ("nginx", "apache")
"""Targets whose web server sends task files, archives and results without asking the application."""

STARTERS = {"gunicorn": gunicorn_server, "development": development_server, **DEPLOYED, **EMBEDDED}
