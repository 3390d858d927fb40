"""One submission, stored and looked at in the way of all tests about submissions."""

import zipfile

from fileserver.core.names import ArchiveName, SubmissionId
from fileserver.services import Services
from tests.storage.sources import files, read_all

JOB = SubmissionId("job-id-xxxx")
ARCHIVE = JOB.archive_name
CONTENT = {"foo.txt": b"foo", "bar/baz/bah.txt": b"bah"}


def store(services: Services, content: dict[str, bytes], submission_id: SubmissionId = JOB) -> None:
    services.submissions.store(submission_id, files(content), sum(map(len, content.values())))


def archive_bytes(services: Services, name: ArchiveName = ARCHIVE) -> bytes:
    return read_all(services.submissions.open_archive(name))


def archived(services: Services, name: ArchiveName = ARCHIVE) -> dict[str, bytes]:
    """The entries of the archive in their order; folders end with a slash."""
    with services.submissions.open_archive(name) as stored, zipfile.ZipFile(stored.file) as archive:
        return {entry: archive.read(entry) for entry in archive.namelist()}
