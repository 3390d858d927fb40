"""The two layouts of archives: nested for old workers, flat for those from 1.7.0."""

import io
import zipfile
from pathlib import Path

import pytest

from tests.support.checks import archive_entries
from tests.support.pool import MakeServer
from tests.support.targets import FlaskServer

FILES = {"job-config.yml": b"tasks: []", "dir/inner.c": b"int"}
NESTED = {"job/", "job/dir/", "job/dir/inner.c", "job/job-config.yml"}
FLAT = {"dir/", "dir/inner.c", "job-config.yml"}
NAMES = {"nested": NESTED, "flat": FLAT}


def with_layout(make_server: MakeServer, layout: str) -> FlaskServer:
    return make_server(grading={"archive_layout": layout})


def names(server: FlaskServer, path: str = "/submission_archives/job.zip") -> set[str]:
    return set(archive_entries(server.get(path)))


@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_layout(make_server: MakeServer, layout: str):
    server = with_layout(make_server, layout)
    server.submit("job", FILES)
    assert names(server) == NAMES[layout]


def test_nested_is_the_default(make_server: MakeServer):
    server = make_server()
    server.submit("job", FILES)
    assert names(server) == NESTED


def test_flat_archive_of_an_empty_submission(make_server: MakeServer):
    server = with_layout(make_server, "flat")
    server.post_parts("/submissions/job", [])
    assert names(server) == set()


@pytest.mark.parametrize(("before", "after"), [("nested", "flat"), ("flat", "nested")])
def test_changed_layout_never_serves_the_other(make_server: MakeServer, before: str, after: str):
    server = with_layout(make_server, before)
    server.submit("job", FILES)
    old_etag = server.get("/submission_archives/job.zip").headers["ETag"]
    server = with_layout(make_server, after)
    response = server.get("/submission_archives/job.zip", {"If-None-Match": old_etag})
    assert set(archive_entries(response)) == NAMES[after]
    assert response.headers["ETag"] != old_etag
    server = with_layout(make_server, before)
    assert names(server) == NAMES[before]


def test_changed_layout_and_range(make_server: MakeServer):
    server = with_layout(make_server, "nested")
    server.submit("job", FILES)
    old = server.get("/submission_archives/job.zip")
    server = with_layout(make_server, "flat")
    headers = {"Range": "bytes=10-", "If-Range": old.headers["ETag"]}
    response = server.get("/submission_archives/job.zip", headers)
    assert set(archive_entries(response)) == FLAT


def test_successor_serves_the_layout_too(make_server: MakeServer):
    server = with_layout(make_server, "flat")
    server.submit("student_job", FILES)
    assert names(server, "/v1/worker-files/submission-archive/student/job") == FLAT


def write_old_archive(path: Path, prefix: str) -> None:
    """Write an archive as the original server left it: whole, and with no note of its layout."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            archive.writestr(prefix + name, data)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.getvalue())


def test_archive_of_the_original_server_is_not_served_flat(make_server: MakeServer, tmp_path: Path):
    folder = tmp_path / "work" / "submissions" / "job"
    (folder / "dir").mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    write_old_archive(tmp_path / "work" / "submission_archives" / "job.zip", "job/")
    assert names(with_layout(make_server, "flat")) == FLAT


def test_archives_of_the_other_layout_do_not_stay_on_the_disk(make_server: MakeServer):
    """A web server may send them from there."""
    for before, after in (("nested", "flat"), ("flat", "nested")):
        server = with_layout(make_server, before)
        server.submit("job", FILES)
        server.submit("other", FILES)
        archives = server.directory / "submission_archives"
        (archives / "adopted.zip").write_bytes(b"made by another server, of a submission that is not there")
        server = with_layout(make_server, after)
        assert {path.name for path in archives.iterdir()} == {"adopted.zip"}
        assert names(server) == NAMES[after]
        server.submit("other", FILES)
        with_layout(make_server, after)
        assert {path.name for path in archives.iterdir()} == {"adopted.zip", "job.zip", "other.zip"}
