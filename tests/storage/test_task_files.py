"""Task files, without HTTP: served whole, healed, adopted, and never mixed up. With extended attributes and without."""

import errno
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

import pytest

from fileserver.core.errors import Collision, InvalidName, LimitExceeded, NotFound
from fileserver.core.incoming import Incoming, IncomingFile
from fileserver.core.names import Sha1
from fileserver.grading import task_files as task_files_module
from fileserver.services import Services
from fileserver.storage.interface import StoredFile
from fileserver.storage.local import LocalBucket
from fileserver.storage.usage import Usage
from tests.storage.sources import MakeServices, failing, files, read_all, transactions, tree
from tests.support.hammer import Hammer, together
from tests.support.messages import sha1
from tests.support.resources import store_as_the_original

INPUT = b"1 2 3\n"
NAME = Sha1(sha1(INPUT))

# The first 320 bytes of the two PDF files of https://shattered.io (Stevens, Bursztein, Karpman, Albertini, Markov:
# "The first collision for full SHA-1", 2017): a common prefix, then one of two pairs of blocks that collide.
SHATTERED = bytes.fromhex(
    "255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f4865696768742033203020522f547970"
    "652034203020522f537562747970652035203020522f46696c7465722036203020522f436f6c6f7253706163652037203020522f4c656e67"
    "74682038203020522f42697473506572436f6d706f6e656e7420383e3e0a73747265616d0affd8fffe00245348412d312069732064656164"
    "2121212121852fec092339759c39b1a1c63c4c97e1fffe01"
)
FIRST = SHATTERED + bytes.fromhex(
    "7f46dc93a6b67e013b029aaa1db2560b45ca67d688c7f84b8c4c791fe02b3df614f86db1690901c56b45c1530afedfb76038e972722fe7ad"
    "728f0e4904e046c230570fe9d41398abe12ef5bc942be33542a4802d98b5d70f2a332ec37fac3514e74ddc0f2cc1a874cd0c78305a215664"
    "61309789606bd0bf3f98cda8044629a1"
)
SECOND = SHATTERED + bytes.fromhex(
    "7346dc9166b67e118f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f26fedfb3dc38e96ac22fe7bd"
    "728f0e45bce046d23c570feb141398bb552ef5a0a82be331fea48037b8b5d71f0e332edf93ac3500eb4ddc0decc1a864790c782c76215660"
    "dd309791d06bd0af3f98cda4bc4629b1"
)
COLLIDING = Sha1(sha1(FIRST))


@pytest.fixture(params=["attributes", "no-attributes"], autouse=True)
def attributes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system has extended attributes."""

    def unsupported(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    if request.param == "no-attributes":
        monkeypatch.setattr(os, "setxattr", unsupported)
        monkeypatch.setattr(os, "getxattr", unsupported)
    return str(request.param) == "attributes"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number for each time that a stored file was read to hash it."""
    made: list[int] = []
    original = task_files_module.hash_descriptor

    def counting(fd: int, algorithms: tuple[str, ...]) -> dict[str, bytes]:
        made.append(fd)
        return original(fd, algorithms)

    monkeypatch.setattr(task_files_module, "hash_descriptor", counting)
    return made


def store(services: Services, *contents: bytes) -> list[Sha1]:
    stored = services.task_files.store(files((str(number), content) for number, content in enumerate(contents)))
    return list(stored.values())


def content_of(services: Services, name: Sha1) -> bytes:
    return read_all(services.task_files.open(name))


def place(root: Path, name: str, folder: str = "tasks") -> Path:
    """Where the file lies, or would lie; its folder is made."""
    path = root / folder / name[0] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def damage(path: Path, content: bytes) -> None:
    """Other bytes at a later time, as after an accident; the file stays the same one."""
    info = path.stat()
    with open(path, "r+b") as file:
        file.truncate()
        file.write(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 1_000_000))


def test_the_two_colliding_files_do_collide() -> None:
    assert FIRST != SECOND
    assert len(FIRST) == len(SECOND) == 320
    assert sha1(FIRST) == sha1(SECOND) == "f92d74e3874587aaf443d1db961d4e26dde13e9c"
    assert sha1(FIRST + b"suffix") == sha1(SECOND + b"suffix")


def test_a_task_file_is_named_by_its_content(services: Services, root: Path) -> None:
    stored = services.task_files.store(files({"input.txt": INPUT, "dir/../empty": b""}))
    assert stored == {"input.txt": NAME, "dir/../empty": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}
    assert content_of(services, NAME) == INPUT
    assert place(root, NAME).read_bytes() == INPUT
    assert services.task_files.store(files({})) == {}


def test_the_digest_of_a_served_file_is_right_or_unknown(services: Services, attributes: bool) -> None:
    store(services, INPUT)
    with services.task_files.open(NAME) as stored:
        assert stored.sha256 == (sha256(INPUT).digest() if attributes else None)


def test_the_first_of_several_files_with_one_name_wins(services: Services) -> None:
    stored = services.task_files.store(files([("a", INPUT), ("a", b"other"), ("b", INPUT)]))
    assert stored == {"a": NAME, "b": NAME}
    assert services.task_files.missing([NAME, Sha1(sha1(b"other"))]) == [sha1(b"other")]
    assert services.ledger.read()["task_files"] == Usage(1, len(INPUT))


def bad_sources() -> Iterator[tuple[type[BaseException], Iterator[IncomingFile]]]:
    yield InvalidName, files([("good", INPUT), ("line\nbreak", b"")])
    yield InvalidName, files([("good", INPUT), ("x" * 1025, b"")])
    yield InvalidName, files([("good", INPUT), ("\udcff", b"")])
    yield LimitExceeded, files([("good", INPUT), ("large", b"x" * 1001)])
    yield Collision, files([("good", INPUT), ("one", FIRST), ("other", SECOND)])
    cut = IncomingFile("cut", Incoming(failing(b"x" * 10, KeyboardInterrupt())))
    yield KeyboardInterrupt, (file for source in (files([("good", INPUT)]), iter([cut])) for file in source)


@pytest.mark.parametrize("number", range(6))
def test_of_a_form_that_fails_nothing_is_published(make_services: MakeServices, root: Path, number: int) -> None:
    services = make_services(limits={"max_file_bytes": 1000})
    error, source = list(bad_sources())[number]
    with pytest.raises(error):
        services.task_files.store(source)
    assert tree(root / "tasks") == {}
    assert transactions(root / "staging") == []


def test_a_task_file_is_deleted_once(services: Services, root: Path) -> None:
    store(services, INPUT, b"other")
    services.task_files.delete(NAME)
    with pytest.raises(NotFound):
        services.task_files.delete(NAME)
    with pytest.raises(NotFound):
        services.task_files.open(NAME)
    assert list(tree(root / "tasks").values()) == [b"other"]
    assert services.ledger.read()["task_files"] == Usage(1, 5)


def test_what_is_missing_is_told_in_the_order_asked(services: Services) -> None:
    names = [Sha1(sha1(b"%d" % number)) for number in range(6)]
    store(services, b"1", b"4")
    asked = [names[5], names[1], names[0], names[5], names[4], names[2]]
    assert services.task_files.missing(iter(asked)) == [names[5], names[0], names[5], names[2]]
    assert services.task_files.missing([]) == []


DAMAGES = [b"", b"1 2 4\n", INPUT[:-1], INPUT + b"\0", b"x" * 100_000]


@pytest.mark.parametrize("content", DAMAGES)
def test_a_damaged_copy_is_never_served_and_reported_missing(services: Services, root: Path, content: bytes) -> None:
    store(services, INPUT)
    assert content_of(services, NAME) == INPUT
    damage(place(root, NAME), content)
    for _ in range(2):
        with pytest.raises(NotFound, match="damaged"):
            services.task_files.open(NAME)
        assert services.task_files.missing([NAME]) == [NAME]


@pytest.mark.parametrize("content", DAMAGES)
def test_a_damaged_copy_is_repaired_by_a_new_upload(services: Services, root: Path, content: bytes) -> None:
    store(services, INPUT)
    damage(place(root, NAME), content)
    assert services.task_files.missing([NAME]) == [NAME]
    store(services, INPUT)
    assert content_of(services, NAME) == INPUT
    assert services.task_files.missing([NAME]) == []
    assert services.ledger.read()["task_files"].files == 1


def test_a_copy_that_rotted_without_a_trace_is_repaired_by_a_new_upload(services: Services, root: Path) -> None:
    store(services, INPUT)
    path = place(root, NAME)
    info = path.stat()
    damage(path, b"1 2 4\n")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    store(services, INPUT)
    assert content_of(services, NAME) == INPUT


def test_what_came_without_this_server_is_read_once_and_then_known(
    services: Services, root: Path, reads: list[int]
) -> None:
    place(root, NAME).write_bytes(INPUT)
    for _ in range(3):
        assert content_of(services, NAME) == INPUT
    assert len(reads) == 1


def test_what_was_read_once_is_known_after_a_restart_where_records_are_kept(
    make_services: MakeServices, root: Path, reads: list[int], attributes: bool
) -> None:
    services = make_services()
    place(root, NAME).write_bytes(INPUT)
    content_of(services, NAME)
    content_of(make_services(), NAME)
    assert len(reads) == (1 if attributes else 2)


def test_a_file_under_a_name_that_is_not_its_own_is_not_served(services: Services, root: Path) -> None:
    other = Sha1("0" * 40)
    place(root, other).write_bytes(INPUT)
    with pytest.raises(NotFound):
        services.task_files.open(other)


def test_a_file_that_was_moved_to_a_wrong_name_is_not_served(services: Services, root: Path) -> None:
    store(services, INPUT)
    content_of(services, NAME)
    other = Sha1("0" * 40)
    place(root, NAME).rename(place(root, other))
    with pytest.raises(NotFound):
        content_of(services, other)
    assert services.task_files.missing([NAME, other]) == [NAME, other]


def test_a_file_of_the_original_server_is_served_from_where_it_lies(services: Services, root: Path) -> None:
    path = place(root, NAME, "exercises")
    path.write_bytes(INPUT)
    assert content_of(services, NAME) == INPUT
    assert services.task_files.missing([NAME]) == []
    assert path.exists()


def test_a_file_of_the_original_server_is_deleted_where_it_lies(make_services: MakeServices, root: Path) -> None:
    path = place(root, NAME, "exercises")
    path.write_bytes(INPUT)
    services = make_services()
    assert services.ledger.read()["task_files"] == Usage(1, len(INPUT))
    services.task_files.delete(NAME)
    assert not path.exists()
    with pytest.raises(NotFound):
        services.task_files.open(NAME)
    assert services.ledger.read()["task_files"] == Usage(0, 0)


@pytest.mark.parametrize("content", [INPUT, b"damaged"])
def test_a_new_upload_takes_the_place_of_what_the_original_server_had(
    make_services: MakeServices, root: Path, content: bytes
) -> None:
    path = place(root, NAME, "exercises")
    path.write_bytes(content)
    services = make_services()
    store(services, INPUT)
    assert not path.exists()
    assert content_of(services, NAME) == INPUT
    assert services.ledger.read()["task_files"] == Usage(1, len(INPUT))


def test_a_damaged_file_of_the_original_server_is_not_served(services: Services, root: Path) -> None:
    place(root, NAME, "exercises").write_bytes(b"damaged")
    with pytest.raises(NotFound):
        services.task_files.open(NAME)
    assert services.task_files.missing([NAME]) == [NAME]


def test_a_damaged_copy_does_not_hide_a_whole_one_of_the_original_server(services: Services, root: Path) -> None:
    place(root, NAME).write_bytes(b"damaged")
    place(root, NAME, "exercises").write_bytes(INPUT)
    assert content_of(services, NAME) == INPUT
    assert services.task_files.missing([NAME]) == []


@pytest.mark.parametrize(("first", "second"), [(FIRST, SECOND), (SECOND, FIRST)], ids=["12", "21"])
@pytest.mark.parametrize("folder", ["tasks", "exercises"])
def test_other_bytes_with_the_same_sha1_are_refused(
    make_services: MakeServices, root: Path, folder: str, first: bytes, second: bytes
) -> None:
    place(root, COLLIDING, folder).write_bytes(first)
    services = make_services()
    with pytest.raises(Collision, match=COLLIDING):
        store(services, second)
    with pytest.raises(Collision, match=COLLIDING):
        store(services, INPUT, second)
    assert content_of(services, COLLIDING) == first
    assert services.task_files.missing([NAME, COLLIDING]) == [NAME]
    assert store(services, first) == [COLLIDING]


def test_a_collision_with_what_was_uploaded_before_is_refused(services: Services, root: Path) -> None:
    assert store(services, FIRST) == [COLLIDING]
    with pytest.raises(Collision):
        store(services, SECOND)
    assert tree(root / "tasks") == {f"f/{COLLIDING}": FIRST}


def test_a_collision_within_one_form_is_refused(services: Services, root: Path) -> None:
    with pytest.raises(Collision):
        store(services, SECOND, FIRST)
    with pytest.raises(NotFound):
        services.task_files.open(COLLIDING)
    assert store(services, SECOND) == [COLLIDING]


def test_a_damaged_copy_is_no_collision(services: Services, root: Path) -> None:
    store(services, FIRST)
    damage(place(root, COLLIDING), b"rotten")
    store(services, SECOND)
    assert content_of(services, COLLIDING) == SECOND


def test_of_two_colliding_uploads_at_once_one_wins(services: Services) -> None:
    def attempt(content: bytes) -> bytes | None:
        try:
            store(services, content)
        except Collision:
            return None
        return content

    for _ in range(10):
        winners = [won for won in together(lambda: attempt(FIRST), lambda: attempt(SECOND)) if won]
        assert winners == [content_of(services, COLLIDING)]
        services.task_files.delete(COLLIDING)


def test_a_file_is_there_for_its_readers_while_it_is_uploaded_again(services: Services) -> None:
    store(services, INPUT)
    with Hammer(lambda: content_of(services, NAME), threads=2) as readers:
        together(*[lambda: [store(services, INPUT) for _ in range(20)]] * 2)
    assert set(readers.results) == {INPUT}
    assert services.ledger.read()["task_files"] == Usage(1, len(INPUT))


def test_a_legacy_file_is_found_while_it_is_uploaded_again(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who looks into the first folder before the upload, and into the second after it."""
    name = store_as_the_original(root, b"legacy").name
    look, looks = LocalBucket.open, []

    def uploading(bucket: LocalBucket, key: str) -> StoredFile:
        looks.append(bucket.name)
        try:
            return look(bucket, key)
        except NotFound:
            if len(looks) == 1:
                services.task_files.store(files({"a": b"legacy"}))
            raise

    monkeypatch.setattr(LocalBucket, "open", uploading)
    assert read_all(services.task_files.open(Sha1(name))) == b"legacy"


def test_an_edit_just_before_the_digest_is_recorded_voids_it(
    services: Services, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, original = store_as_the_original(root, b"legacy"), task_files_module.write_record

    def edited_meanwhile(*arguments) -> None:
        damage(path, b"edited")
        original(*arguments)

    monkeypatch.setattr(task_files_module, "write_record", edited_meanwhile)
    services.task_files.open(Sha1(path.name)).close()
    with services.task_files._buckets[1].open(path.name) as stored:
        assert stored.record is None
