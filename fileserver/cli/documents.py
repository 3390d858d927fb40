"""Output that other programs read."""

import json
from collections.abc import Callable, Iterable, Mapping

import click


def echo_document(name: str, items: Iterable[object], rest: Callable[[], Mapping[str, object]]) -> None:
    """Print one JSON object: the list *name*, item by item as they come, then the members that *rest* tells."""
    click.echo(f"{{{json.dumps(name)}: [", nl=False)
    separator = "\n  "
    for item in items:
        click.echo(separator + json.dumps(item), nl=False)
        separator = ",\n  "
    click.echo("]" + "".join(f",\n {json.dumps(key)}: {json.dumps(value)}" for key, value in rest().items()) + "}")


def printable(text: str) -> str:
    """*text* for a line of output: what cannot be printed is escaped."""
    return text if text.isprintable() else ascii(text)
