"""The way from a view to the services of its application, and to its client's connection."""

import socket
from typing import cast

from flask import Flask, current_app, request

from fileserver.services import Services

_KEY = "fileserver"


def attach_services(app: Flask, services: Services) -> None:
    """Make *services* those of *app*."""
    app.extensions[_KEY] = services


def services_of(app: Flask) -> Services:
    """The services of *app*."""
    return cast(Services, app.extensions[_KEY])


def services() -> Services:
    """The services of the application that handles the current request."""
    return services_of(current_app)


def client_connection() -> socket.socket | None:
    """The connection of the current request, where the web server lets us reach it: gunicorn does."""
    return cast("socket.socket | None", request.environ.get("gunicorn.socket"))
