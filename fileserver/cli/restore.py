"""Restoring a snapshot."""

from pathlib import Path

import click

from fileserver.cli.documents import json_option
from fileserver.cli.options import directory_option
from fileserver.cli.reporting import reporting
from fileserver.configuration import load_settings
from fileserver.maintenance.restore import restore as restore_snapshot


@click.command(
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage or settings, 3 done, but something is damaged or missing."
)
@directory_option
@click.argument("source", metavar="SRC", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@click.pass_obj
def restore(group_directory: Path | None, directory: Path | None, source: Path, as_json: bool) -> None:
    """Put the snapshot SRC, or the newest one in SRC, into an empty working directory.

    Every file is checked. What is damaged or missing is told and left out.
    """
    settings = load_settings(flags={"working_directory": directory or group_directory})
    with reporting(as_json) as reporter:
        result = restore_snapshot(settings, source, reporter.problem)
        counts = {name: {"files": held.files, "size_bytes": held.size_bytes} for name, held in result.restored.items()}
        lines = [f"{name:<12}{held['files']:>12,}{held['size_bytes']:>20,} bytes" for name, held in counts.items()]
        reporter.finish(
            {"snapshot": str(result.snapshot), "restored": counts}, "\n".join([f"Restored {result.snapshot}", *lines])
        )
