"""What a process that died, or a restored backup, leaves of a submission."""

import hashlib
import os
from pathlib import Path

from fileserver.services import Services
from tests.storage.sources import python, transactions, tree
from tests.storage.submitting import ARCHIVE, JOB, archive_bytes, archived, store

# Dies between the publishing of the folder and that of the archive.
DYING = """
import os, sys
from pathlib import Path
from fileserver.core.incoming import Incoming, IncomingFile
from fileserver.core.names import SubmissionId
from fileserver.core.settings import parse_settings
from fileserver.services import build_services
from fileserver.storage.local import LocalBucket
services = build_services(parse_settings({"storage": {"working_directory": sys.argv[1]}}))
LocalBucket.put = lambda *_: os._exit(9)
services.submissions.store(SubmissionId(sys.argv[2]), [IncomingFile("foo.txt", Incoming(iter([b"new"])))])
"""

# Asks for the archive of the submission that the process above has left, when it is time to look for dead processes.
SWEEPING = """
import sys
from fileserver.core.names import ArchiveName
from fileserver.core.settings import parse_settings
from fileserver.services import build_services
from fileserver.storage import staging
services = build_services(parse_settings({"storage": {"working_directory": sys.argv[1]}}))
print("ready", flush=True)
sys.stdin.readline()
now = staging.time.monotonic()
staging.time.monotonic = lambda: now + 3600
print(services.submissions.open_archive(ArchiveName(sys.argv[2])).size_bytes, flush=True)
"""


def test_an_old_archive_that_comes_back_is_not_served(services: Services, root: Path) -> None:
    """As after a backup of the archives alone was restored."""
    store(services, {"a": b"old"})
    path = root / "submission_archives" / ARCHIVE
    old, times = path.read_bytes(), path.stat()
    store(services, {"a": b"new"})
    path.write_bytes(old)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert archived(services)["job-id-xxxx/a"] == b"new"


def leave_a_dead_process(root: Path) -> None:
    with python(DYING, root, JOB) as process:
        assert process.wait(20) == 9


def test_the_archive_that_a_dead_process_did_not_publish_is_rebuilt_once(
    services: Services, root: Path, builds: list[str]
) -> None:
    store(services, {"foo.txt": b"old"})
    leave_a_dead_process(root)
    assert tree(root / "submissions") == {"job-id-xxxx/foo.txt": b"new"}
    assert not (root / "submission_archives" / ARCHIVE).exists()
    builds.clear()
    assert services.staging.recover() == 1
    assert transactions(root / "staging") == []
    assert archived(services) == {"job-id-xxxx/": b"", "job-id-xxxx/foo.txt": b"new"}
    assert archived(services)["job-id-xxxx/foo.txt"] == b"new"
    assert builds == [JOB]
    with services.submissions.open_archive(ARCHIVE) as stored:
        assert stored.sha256 == hashlib.sha256(archive_bytes(services)).digest()


def test_recovery_does_not_publish_an_archive_whose_submission_was_replaced_since(
    services: Services, root: Path
) -> None:
    leave_a_dead_process(root)
    store(services, {"foo.txt": b"newer"})
    on_disk = tree(root / "submission_archives")
    assert services.staging.recover() == 1
    assert tree(root / "submission_archives") == on_disk
    assert archived(services)["job-id-xxxx/foo.txt"] == b"newer"


def test_recovery_does_not_publish_an_archive_whose_submission_was_deleted_since(
    services: Services, root: Path
) -> None:
    leave_a_dead_process(root)
    services.submissions.delete(JOB)
    assert services.staging.recover() == 1
    assert tree(root / "submission_archives") == {}


def test_who_asks_for_an_archive_when_it_is_time_for_recovery_gets_it(root: Path) -> None:
    with python(SWEEPING, root, ARCHIVE) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n"
        leave_a_dead_process(root)
        output, _ = process.communicate("go\n", timeout=10)
        assert int(output) > 0
    assert transactions(root / "staging") == []
