"""A program that dies at each step of a write: `crashes.py FOLDER ACTION`.

A step is a call that changes what is on the disk or makes it durable. For each number n a child process opens the
working directory FOLDER/n, stores the old content, begins to store the new content, and exits without any clean-up
right before its n-th step, until one child comes to its end. That one has exit status 0.
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


def remove(services: Services, content: dict[str, bytes]) -> None:
    services.submissions.store(JOB, files(content)) if content is OLD else services.submissions.delete(JOB)


ACTIONS = {"submit": submit, "put_result": put_result, "put_task_files": put_task_files, "remove": remove}


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


if __name__ == "__main__":
    die_at_each_step(Path(sys.argv[1]), ACTIONS[sys.argv[2]])
