"""Processes that die at each step of an action.

A step is a call that changes what is on the disk or makes it durable. For each number n a child process opens the
working directory FOLDER/n, stores the old content, begins the action with the new content, and exits without any
clean-up right before its n-th step, until one child comes to its end. What is stored over HTTP is tried in front of
real system calls, see tests/crash; this is for what no request does.
"""

import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from fileserver.core.incoming import Incoming, IncomingFile
from fileserver.core.names import SubmissionId
from fileserver.core.settings import parse_settings
from fileserver.services import Services, build_services
from fileserver.storage import folders as folders_module

OLD = {"a.txt": b"old", "sub/b.txt": b"old b", "gone.txt": b"only in the old one"}
NEW = {"a.txt": b"new", "sub/b.txt": b"new b", "sub/added.txt": b"only in the new one"}
JOB = SubmissionId("job")
STEPS = ["rename", "unlink", "rmdir", "mkdir", "fsync", "write", "utime", "setxattr", "pwrite", "fchmod"]
DIED = 9

Action = Callable[[Services, dict[str, bytes]], None]


def files(content: dict[str, bytes]) -> Iterator[IncomingFile]:
    for name, data in content.items():
        yield IncomingFile(name, Incoming(iter([data])))


def submit(services: Services, content: dict[str, bytes]) -> None:
    services.submissions.store(JOB, files(content))


def put_result(services: Services, content: dict[str, bytes]) -> None:
    services.results.store("job.zip", Incoming(iter([content["a.txt"]])))


def put_task_files(services: Services, content: dict[str, bytes]) -> None:
    services.task_files.store(files(content))


def arm(fatal_step: int) -> None:
    """Let the process die right before its step number *fatal_step* from now on."""
    steps = count()

    def fragile(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == fatal_step:
                os._exit(DIED)
            return call(*args, **kwargs)

        return step

    for name in STEPS:
        setattr(os, name, fragile(getattr(os, name)))
    folders_module.exchange = fragile(folders_module.exchange)


def live_and_die(directory: Path, action: Action, fatal_step: int) -> None:
    services = build_services(parse_settings({"storage": {"working_directory": directory}}))
    action(services, OLD)
    arm(fatal_step)
    action(services, NEW)
    os._exit(0)


def die_at_each_step(folder: Path, action: Action) -> None:
    """Let a child process do *action* with the old content, and die at each of its steps with the new one."""
    for fatal_step in count():
        child = os.fork()
        if not child:
            live_and_die(folder / f"{fatal_step:03}", action, fatal_step)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != DIED:
            sys.exit(status)
