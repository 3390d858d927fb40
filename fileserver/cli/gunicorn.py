"""Gunicorn inside this process, with the options that this server wants; `runserver` and `serve` run it."""

import signal
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from fileserver.web.worker import PatientWorker

WORKER_CLASS = f"{PatientWorker.__module__}.{PatientWorker.__qualname__}"
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def _leave(number: int, frame: FrameType | None) -> None:
    """End the process in good order; it is on its way already if it is told so again."""
    for ending in _ENDING:
        signal.signal(ending, signal.SIG_IGN)
    sys.exit(0)


def _heed_early_signals(arbiter: Arbiter, worker: Worker) -> None:
    """Let a new worker end when it is told to, from its fork on.

    It has the handlers of its parent until its own are set, and those only put the signal into a queue that nobody
    reads here: a server that is stopped just after its start would wait for this worker for the whole graceful time.
    """
    for number in _ENDING:
        signal.signal(number, _leave)
    while not arbiter.SIG_QUEUE.empty():
        if arbiter.SIG_QUEUE.get_nowait() in _ENDING:
            sys.exit(0)


class Gunicorn(BaseApplication):  # type: ignore[misc]
    """Gunicorn on one application with some *options*; `run` does not return but exits.

    The application is made before the workers are forked, so that what is wrong with its settings is told at once.
    """

    def __init__(self, app: Flask, options: Mapping[str, Any]) -> None:
        self._app = app
        self._options: dict[str, Any] = {
            "worker_class": PatientWorker,
            "loglevel": "warning",
            "control_socket_disable": True,
            "post_fork": _heed_early_signals,
            **options,
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._app
