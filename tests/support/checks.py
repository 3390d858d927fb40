"""Assertions and observations that many tests share."""

import io
import zipfile
from pathlib import Path
from typing import Any

from tests.support.docs import PREFIX, problem_kinds
from tests.support.messages import Response
from tests.support.targets import Server

PROBLEM_KINDS = problem_kinds()
COUNTED = ["results", "submission_archives", "submissions", "attachments", "tasks", "exercises"]


def assert_problem(response: Response, kind: str, server: Server) -> dict[str, Any]:
    """Check that *response* is the documented problem *kind*, and return its members."""
    expected = PROBLEM_KINDS[kind]
    assert (response.status, response.body[:0]) == (expected.status, b""), response
    assert response.headers["Content-Type"] == "application/problem+json", response
    # Apache sends its own answers after a range in chunks.
    if not (server.target == "apache" and kind == "range-not-satisfiable" and "Content-Length" not in response.headers):
        assert response.headers["Content-Length"] == str(len(response.body))
    problem = response.json()
    assert problem["type"] == PREFIX + kind, problem
    assert problem["status"] == expected.status
    assert problem["retryable"] is expected.retryable, problem
    assert all(isinstance(problem[member], str) and problem[member] for member in ("title", "detail"))
    assert_tells_no_secret(response, server)
    return problem


def assert_tells_no_secret(response: Response, server: Server) -> None:
    """No error tells a path of the server, and none carries a stack trace."""
    text = response.body.decode() + str(response.headers)
    assert str(server.directory) not in text
    assert "Traceback" not in text
    assert "site-packages" not in text
    assert ".py" not in text


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def stored_files(folder: Path) -> dict[str, bytes]:
    """Return every regular file below *folder* with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in files_below(folder)}


def stored_names(folder: Path) -> set[str]:
    """Return every file and directory below *folder*, but for what is permanent in staging."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in names if not name.startswith("staging/.")}


def assert_counted(server: Server) -> None:
    """The home page tells exactly what lies in the working directory."""
    sizes = {name: [path.stat().st_size for path in files_below(server.directory / name)] for name in COUNTED}
    counters = {name: len(sizes[name]) for name in ("results", "submission_archives", "attachments")}
    counters["submissions"] = len(list((server.directory / "submissions").iterdir()))
    counters["task_files"] = len(sizes["tasks"]) + len(sizes["exercises"])
    page = server.get("/", {"Accept": "application/json"}).json()
    assert page["counters"] == counters
    assert page["bytes_used"] == sum(map(sum, sizes.values())), (page, sizes)


def submission_files(server: Server, submission_id: str) -> dict[str, bytes] | None:
    """Return the files of a submission as a client reads them, None if there is none."""
    listing = server.get(f"/submissions/{submission_id}")
    if listing.status == 404:
        return None
    files = listing.json()["files"]
    return {file["name"]: server.get(file["url"]).body for file in files}


def archive_entries(response: Response) -> dict[str, bytes]:
    """Return the entries of an archive, directories (with their slash) included."""
    assert response.status == 200, response
    with zipfile.ZipFile(io.BytesIO(response.body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def archive_files(server: Server, submission_id: str) -> dict[str, bytes]:
    """Return the files that a worker finds in the archive of a submission."""
    entries = archive_entries(server.get(f"/submission_archives/{submission_id}.zip"))
    prefix = f"{submission_id}/"
    assert all(name.startswith(prefix) for name in entries)
    files = {name.removeprefix(prefix): data for name, data in entries.items()}
    return {name: data for name, data in files.items() if name and not name.endswith("/")}
