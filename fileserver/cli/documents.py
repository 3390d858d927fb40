"""Output that other programs read: one JSON object, whatever happens."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fileserver.core.errors import FileserverError

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class Document:
    """One JSON object that is printed as it comes: a list, item by item, then the other *members*."""

    def __init__(self, name: str) -> None:
        self.members: dict[str, object] = {}
        self._separator = "\n  "
        click.echo(f"{{{json.dumps(name)}: [", nl=False)

    def add(self, item: object) -> None:
        """Print one more item of the list."""
        click.echo(self._separator + json.dumps(item), nl=False)
        self._separator = ",\n  "

    def end(self, error: str | None = None) -> None:
        """Print the rest: the members, whether the work was completed, and the *error* if it was not."""
        members = {"completed": error is None} | self.members | ({"error": error} if error is not None else {})
        click.echo("]" + "".join(f",\n {json.dumps(key)}: {json.dumps(value)}" for key, value in members.items()) + "}")


@contextmanager
def json_document(name: str) -> Iterator[Document]:
    """A document whose list is called *name*; an error that ends the block is told in it, and raised again."""
    document = Document(name)
    try:
        yield document
    except (FileserverError, OSError) as error:
        document.end(error_text(error))
        raise
    document.end()


def error_text(error: Exception) -> str:
    """What went wrong, for people."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return printable(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)


def printable(text: str) -> str:
    """*text* for a line of output: what cannot be printed is escaped."""
    return text if text.isprintable() else ascii(text)
