"""A program that dies at each step of gc or of a restoration: `crashes.py FOLDER ACTION`; see tests/storage/crashes.py.

With the old content an action prepares what it does with the new one.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from fileserver.core.names import Sha1
from fileserver.core.sections import RetentionSettings
from fileserver.maintenance.gc import Collector
from fileserver.maintenance.trash import restore
from fileserver.services import Services
from tests.storage.crashes import OLD, die_at_each_step, put_result, put_task_files, submit
from tests.support.ageing import age
from tests.support.messages import sha1

CONTENT = OLD["a.txt"]
NAME = Sha1(sha1(CONTENT))
RULES = RetentionSettings(submission_days=1, result_days=1, task_file_grace_days=2, trash_days=3)


def fill(services: Services) -> None:
    submit(services, OLD)
    put_result(services, OLD)
    put_task_files(services, {"a.txt": CONTENT})
    age(services.staging.root.parent, 2.5)


def collect(services: Services) -> None:
    settings = replace(services.settings, retention=RULES)
    for _ in Collector(replace(services, settings=settings), time.time_ns()).collect():
        pass


def gc(services: Services, content: dict[str, bytes]) -> None:
    fill(services) if content is OLD else collect(services)


def expire(services: Services, content: dict[str, bytes]) -> None:
    if content is OLD:
        fill(services)
        collect(services)
        age(services.staging.root.parent, 4)
    else:
        collect(services)


def put_back(services: Services, content: dict[str, bytes]) -> None:
    if content is OLD:
        fill(services)
        collect(services)
    else:
        for held in list(services.trash.held()):
            restore(services, services.trash, held.name)


ACTIONS = {"gc": gc, "expire": expire, "put_back": put_back}

if __name__ == "__main__":
    die_at_each_step(Path(sys.argv[1]), ACTIONS[sys.argv[2]])
