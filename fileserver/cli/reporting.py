"""How commands tell what they find and do: lines for people, or a JSON document for programs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from fileserver.cli.documents import Document, json_document, printable
from fileserver.cli.working import EXIT_DAMAGED
from fileserver.maintenance.removals import Removal

EXIT_FAILED = 1


class Reporter:
    """Tells of problems as they are found, and of the whole at the end."""

    def __init__(self, document: Document | None) -> None:
        self._document = document
        self.problems = 0

    def problem(self, path: str, reason: str) -> None:
        """Tell that *path* is not as it should be: on standard error, or in the document."""
        self.problems += 1
        if self._document:
            self._document.add({"path": path, "problem": reason})
        else:
            click.echo(f"{printable(path)}: {reason}", err=True)

    def finish(self, summary: dict[str, Any], text: str) -> None:
        """Tell the *summary*, or its *text*."""
        if self._document:
            self._document.members |= summary
            return
        click.echo(text)
        if self.problems:
            click.echo(f"{self.problems} problems", err=True)


@contextmanager
def reporting(as_json: bool) -> Iterator[Reporter]:
    """A reporter for the work of the block; at its end the process ends if there were problems."""
    if as_json:
        with json_document("problems") as document:
            yield (reporter := Reporter(document))
    else:
        yield (reporter := Reporter(None))
    if reporter.problems:
        sys.exit(EXIT_DAMAGED)


@dataclass
class Sums:
    """What the removals so far add up to."""

    trashed: int = 0
    trashed_bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    failed: int = 0

    def count(self, removals: Iterator[Removal]) -> Iterator[Removal]:
        """Pass *removals* on, and count them."""
        for removal in removals:
            if removal.error:
                self.failed += 1
            elif removal.to_trash:
                self.trashed += 1
                self.trashed_bytes += removal.size_bytes
            else:
                self.deleted += 1
                self.deleted_bytes += removal.size_bytes
            yield removal


def removal_line(removal: Removal) -> str:
    """One removal for people."""
    what = f"{printable(f'{removal.bucket}/{removal.key}')}, {removal.size_bytes} bytes"
    failed = f"FAILED ({removal.error}): " if removal.error else ""
    return f"{failed}{'trash' if removal.to_trash else 'delete'} {what}: {printable(removal.reason)}"
