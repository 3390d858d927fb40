"""Making a snapshot of a working directory."""

from pathlib import Path

import click

from fileserver.cli.documents import json_option
from fileserver.cli.options import directory_option
from fileserver.cli.reporting import reporting
from fileserver.cli.working import open_services
from fileserver.maintenance.backup import back_up
from fileserver.maintenance.pace import Pace


@click.command(
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage or settings, 3 done, but something is damaged or missing."
)
@directory_option
@click.argument("destination", metavar="DEST", type=click.Path(file_okay=False, path_type=Path))
@click.option("--max-bytes-per-second", type=click.IntRange(min=1), help="Read no faster than that.")
@json_option
@click.pass_obj
def backup(
    group_directory: Path | None,
    directory: Path | None,
    destination: Path,
    max_bytes_per_second: int | None,
    as_json: bool,
) -> None:
    """Make a snapshot in the folder DEST, while the server runs or not.

    What has not changed since the last snapshot there is shared with it. DEST is made if it is missing.
    """
    with reporting(as_json) as reporter, open_services(group_directory, directory) as services:
        result = back_up(services, destination, reporter.problem, Pace(max_bytes_per_second))
        copied, linked = result.copied, result.linked
        reporter.finish(
            {
                "snapshot": str(result.snapshot),
                "copied": {"files": copied.files, "size_bytes": copied.size_bytes},
                "linked": {"files": linked.files, "size_bytes": linked.size_bytes},
            },
            f"{result.snapshot}: {copied.files} files with {copied.size_bytes} bytes copied, "
            f"{linked.files} files with {linked.size_bytes} bytes shared with the snapshot before",
        )
