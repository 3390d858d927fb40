"""The settings in effect, and the page that documents them all."""

from pathlib import Path

import click

from fileserver.cli.documents import printable
from fileserver.cli.options import directory_option
from fileserver.configuration import load_with_sources
from fileserver.core.settings import SECTIONS, Setting, Settings, all_settings

_INTRODUCTION = """\
# Settings

Everything has a safe default. A value comes from, the first wins:

1. an option of the command line, or an argument of `create_app`,
2. the environment variable `FILESERVER_` and the name in capitals, such as `FILESERVER_MAX_PARTS`,
3. the TOML file that `FILESERVER_SETTINGS` names, in the table of its section,
4. the default.

An unknown setting, section or `FILESERVER_` variable is refused at start, as is a value out of its range.

```toml
[storage]
working_directory = "/var/lib/fileserver"

[limits]
max_parts = 500

[auth]
htpasswd_file = "/etc/fileserver/htpasswd"
```

`recodex-fileserver settings` tells which settings are in effect, and where each comes from; with `--toml` as a TOML
file with all settings and their meaning, to begin with. In the environment, a list has commas between its items, and
what is on or off is `true` or `false`. Secrets are no settings: they lie in files that settings name.

This page is made by `make docs`, of the code; a test compares them.

| Section | Name | Default | Meaning |
|---|---|---|---|
"""

_NOTES = """
A client that is silent for `max_idle_seconds`, or slower than `min_bytes_per_second` for so long, is cut off: in the
head of a request (there after 10 seconds at most), in its body (408 `body-timeout`) and in the answer. The time that
the server itself takes does not count. That is the work of the worker class `fileserver.web.worker.PatientWorker`.
With gunicorn's own `gthread`, and where gunicorn does the encryption, `max_idle_seconds` is the longest silence within
a body or an answer; other web servers have limits of their own.

A changed `archive_layout` holds from the next start: archives of the other layout are removed then, and rebuilt when
they are asked for.
"""


@click.command(epilog="Exit status: 0 done, 2 wrong usage or settings.")
@directory_option
@click.option("--toml", "form", flag_value="toml", help="Print a TOML file with all settings and their meaning.")
@click.option("--markdown", "form", flag_value="markdown", help="Print the page that documents all settings.")
@click.pass_obj
def settings(group_directory: Path | None, directory: Path | None, form: str | None) -> None:
    """Print the settings in effect, and where each of them comes from."""
    if form == "markdown":
        click.echo(_markdown(), nl=False)
        return
    effective, sources = load_with_sources(flags={"working_directory": directory or group_directory})
    click.echo(_toml(effective, sources) if form == "toml" else _table(effective, sources))


def _markdown() -> str:
    """docs/settings.md as a whole."""
    rows = [
        f"| {known.section} | `{known.name}` | {known.shown(known.default)} | {known.meaning} |\n"
        for known in all_settings()
    ]
    return _INTRODUCTION + "".join(rows) + _NOTES


def _value(effective: Settings, known: Setting) -> object:
    return getattr(getattr(effective, known.section), known.name)


def _table(effective: Settings, sources: dict[str, str]) -> str:
    rows = [
        (f"{known.section}.{known.name}", printable(known.shown(_value(effective, known))), sources.get(known.name))
        for known in all_settings()
    ]
    widths = [max(len(row[column] or "") for row in rows) for column in (0, 1)]
    return "\n".join(
        f"{name:<{widths[0]}}  {value:<{widths[1]}}  {printable(source or 'default')}" for name, value, source in rows
    )


def _toml(effective: Settings, sources: dict[str, str]) -> str:
    """All settings as a TOML file; those that have their default are commented out."""
    lines = ["# The settings of the fileserver. What is commented out has its default."]
    for section, cls in SECTIONS.items():
        lines += ["", f"# {cls.__doc__}", f"[{section}]"]
        for known in all_settings():
            if known.section == section:
                value = _value(effective, known)
                shown = f"{known.name} = {'' if value is None else known.toml(value)}"
                lines += ["", f"# {known.meaning}", shown if known.name in sources else f"#{shown.rstrip()}"]
    return "\n".join(lines)
