"""How commands tell what they find: lines for people, or lines of JSON for programs."""

import json
import sys
from typing import Any

import click

from fileserver.cli.working import EXIT_DAMAGED

json_option = click.option("--json", "as_json", is_flag=True, help="Print lines of JSON; the last is the summary.")


class Reporter:
    """Tells of problems as they are found, and of the whole at the end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._problems = 0

    def problem(self, path: str, reason: str) -> None:
        """Tell that *path* is not as it should be: on standard error, or as JSON."""
        self._problems += 1
        if self._as_json:
            click.echo(json.dumps({"path": path, "problem": reason}))
        else:
            click.echo(f"{path}: {reason}", err=True)

    def finish(self, summary: dict[str, Any], text: str) -> None:
        """Print the *summary*, or its *text*; then end the process if there were problems."""
        click.echo(json.dumps(summary | {"problems": self._problems}) if self._as_json else text)
        if self._problems:
            if not self._as_json:
                click.echo(f"{self._problems} problems", err=True)
            sys.exit(EXIT_DAMAGED)
