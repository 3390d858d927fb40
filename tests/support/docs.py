"""What docs/http-api.md says, as data: its tables of routes and of errors."""

import re
from typing import NamedTuple

from tests.support.servers import REPOSITORY

PAGE = REPOSITORY / "docs" / "http-api.md"
PREFIX = "urn:recodex-fileserver:problem:"


class ProblemKind(NamedTuple):
    status: int
    retryable: bool


def table_rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under *heading*, without the table's own head."""
    section = PAGE.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def documented_routes() -> set[tuple[str, str]]:
    """Return pairs of method and path, the names of the path's variables left out."""
    return {(row[0], anonymous(row[1].strip("`"))) for row in table_rows("Routes")}


def anonymous(rule: str) -> str:
    """Return the rule without names of variables; ``<path:>`` is one that may contain a slash."""
    rule = re.sub(r"<path:[^>]*>", "<path:>", rule)
    return re.sub(r"<(?!path:)[^>]*>", "<>", rule)


def problem_kinds() -> dict[str, ProblemKind]:
    rows = table_rows("Errors")
    return {row[1].strip("`"): ProblemKind(int(row[0]), row[3] == "yes") for row in rows}
