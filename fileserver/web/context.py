"""The way from a view to the services of its application."""

from typing import cast

from flask import Flask, current_app

from fileserver.services import Services

_KEY = "fileserver"


def attach_services(app: Flask, services: Services) -> None:
    """Make *services* those of *app*."""
    app.extensions[_KEY] = services


def services() -> Services:
    """The services of the application that handles the current request."""
    return cast(Services, current_app.extensions[_KEY])
