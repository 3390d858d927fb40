"""Retention: removing what is not needed any more."""

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import click

from fileserver.cli.documents import json_document, json_option
from fileserver.cli.options import directory_option
from fileserver.cli.reporting import EXIT_FAILED, Sums, removal_line
from fileserver.cli.working import open_services
from fileserver.maintenance.gc import Collector, stored_task_files
from fileserver.maintenance.keep_list import read_keep_list


@click.command(
    epilog="Exit status: 0 done, 1 something failed, too little became free, or the keep-list was refused "
    "(then nothing was done), 2 wrong usage or settings."
)
@directory_option
@click.option("--dry-run", is_flag=True, help="Say what would go, and why; change nothing.")
@click.option(
    "--keep",
    "keep_file",
    type=click.File("rb"),
    help="The task files that are needed, one SHA-1 a line; - is standard input. Others go when they are unused for "
    "task_file_grace_days (14, if that is not set).",
)
@click.option(
    "--max-unlisted",
    "max_unlisted_percent",
    type=click.IntRange(0, 100),
    default=50,
    show_default=True,
    help="Refuse a keep-list that lacks more than so many percent of the task files.",
)
@click.option(
    "--free-bytes",
    type=click.IntRange(min=0),
    default=0,
    help="Remove archives, the longest unused first, until so many bytes are free on the disk.",
)
@json_option
@click.pass_obj
def gc(
    group_directory: Path | None,
    directory: Path | None,
    dry_run: bool,
    keep_file: BinaryIO | None,
    max_unlisted_percent: int,
    free_bytes: int,
    as_json: bool,
) -> None:
    """Remove what the settings of [retention] let go.

    It works beside a running server, and must run as the server's user. Archives are deleted, as they are rebuilt on
    demand; all else goes to the trash, and is deleted after trash_days.
    """
    now_ns, sums = time.time_ns(), Sums()
    with open_services(group_directory, directory) as services:
        keep = read_keep_list(keep_file, now_ns) if keep_file else None
        if keep:
            keep.require_most(stored_task_files(services), max_unlisted_percent)
        collector = Collector(services, now_ns, keep, dry_run=dry_run)
        removals = sums.count(collector.collect(free_bytes))
        if as_json:
            with json_document("removed") as document:
                for removal in removals:
                    document.add(asdict(removal))
                document.members |= _summary(collector, sums, dry_run, free_bytes)
        else:
            for removal in removals:
                click.echo(removal_line(removal))
            click.echo(_sentence(_summary(collector, sums, dry_run, free_bytes)))
        if sums.failed or collector.free_bytes() < free_bytes:
            sys.exit(EXIT_FAILED)


def _summary(collector: Collector, sums: Sums, dry_run: bool, min_free_bytes: int) -> dict[str, int]:
    free_bytes = collector.free_bytes()
    return {
        "dry_run": dry_run,
        **asdict(sums),
        "free_bytes": free_bytes,
        "short_bytes": max(0, min_free_bytes - free_bytes),
    }


def _sentence(summary: dict[str, int]) -> str:
    text = (
        "{trashed} to the trash ({trashed_bytes} bytes), {deleted} deleted ({deleted_bytes} bytes), {failed} failed; "
        "{free_bytes} bytes are free"
    )
    if summary["short_bytes"]:
        text += ", {short_bytes} too few: what lies in the trash can be deleted by `trash empty`"
    if summary["dry_run"]:
        text = "It is a dry run, nothing was changed. " + text.replace("are free", "would be free")
    return text.format(**summary)
