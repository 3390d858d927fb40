"""Names: whatever text comes in, what comes out is safe as a path, or one of two errors."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fileserver.core.errors import InvalidName, NotFound
from fileserver.core.names import (
    ArchiveName,
    AttachmentId,
    FilePath,
    FileTree,
    NameLimits,
    ResultName,
    Sha1,
    SubmissionId,
    check_text,
    quoted,
)

Maker = Callable[[str], str]

COMPONENT_TYPES = [SubmissionId, AttachmentId, ResultName, ArchiveName]
ALL_TYPES = [*COMPONENT_TYPES, FilePath, Sha1]

# Any text, lone surrogates included, and text that is made of what is special in paths and names.
special = st.sampled_from(
    ["/", ".", "..", "\\", "\0", "\n", "\r", "\x7f", "\x1b", "~", ":", "%2f", "\udcff", "\ud800", " ", "a", "é", "中"]
) | st.sampled_from(
    [".zip", ".tar.gz", "x" * 100, "é" * 60, "-", '"', "CON", "\u202e", "\u2028", "\ufeff", "\x85", "\uff10", "\uff0e"]
)
texts = st.text(st.characters(exclude_categories=[]), max_size=40) | st.lists(special, max_size=8).map("".join)
names = texts | texts.map(lambda text: text + ".zip")


def accepted(make: Maker, text: str) -> str | None:
    """The name, or None where it is refused in one of the two ways that are allowed."""
    try:
        return make(text)
    except (InvalidName, NotFound):
        return None


@pytest.mark.parametrize("make", ALL_TYPES)
@given(text=names)
@example(text="..")
@example(text="../x.zip")
@example(text="a/../../b.zip")
@example(text="/etc/passwd.zip")
@example(text="a//b")
@example(text="\ud800.zip")
@example(text="x" * 5000)
def test_an_accepted_name_stays_below_its_folder(make: Maker, text: str) -> None:
    name = accepted(make, text)
    if name is None:
        return
    assert name == text
    joined = os.path.join("/root/folder", name)
    assert joined == "/root/folder/" + name
    assert os.path.normpath(joined) == joined
    components = name.split("/")
    assert len(components) == 1 or make is FilePath
    for component in components:
        assert component not in ("", ".", "..")
        assert len(component.encode("utf-8")) <= 255
        assert not any(ord(character) < 32 or character in "\x7f\\" for character in component)


@pytest.mark.parametrize("make", ALL_TYPES)
@given(text=names)
@example(text="é" * 123 + ".zip")
@example(text="/".join(["a"] * 32))
def test_an_accepted_name_can_be_created_on_disk(make: Maker, text: str) -> None:
    name = accepted(make, text)
    if name is None:
        return
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")
        found = [Path(at, file) for at, _, files in os.walk(folder) for file in files]
        assert [str(one.relative_to(folder)) for one in found] == [name]
        assert found[0].read_bytes() == b"content"


@pytest.mark.parametrize("make", [SubmissionId, AttachmentId])
@pytest.mark.parametrize("text", ["a", "student_e1a9", "a.zip", "ä", "-rf", "...", " ", "a b", "x" * 251, "é" * 125])
def test_an_id_is_one_component_that_leaves_room_for_a_suffix(make: Maker, text: str) -> None:
    assert make(text) == text


@pytest.mark.parametrize("make", [SubmissionId, AttachmentId])
@pytest.mark.parametrize(
    "text", ["", ".", "..", "a/b", "/", "a\\b", "a\0", "a\n", "\x7f", "x" * 252, "é" * 126, "\udc80"]
)
def test_an_id_that_breaks_the_rules_is_invalid(make: Maker, text: str) -> None:
    with pytest.raises(InvalidName):
        make(text)


@given(text=texts)
def test_every_submission_has_an_archive_name_that_leads_back_to_it(text: str) -> None:
    submission_id = accepted(SubmissionId, text)
    if isinstance(submission_id, SubmissionId):
        name = submission_id.archive_name
        assert name == text + ".zip"
        assert (name.submission_id, type(name.submission_id)) == (submission_id, SubmissionId)


@pytest.mark.parametrize("text", ["", "a", ".zip", "a.tar", "a.zip.gz", "a.ZIP", "zip"])
def test_what_is_not_called_zip_is_no_archive(text: str) -> None:
    with pytest.raises(NotFound):
        ArchiveName(text)


@pytest.mark.parametrize("text", ["../a.zip", "...zip", "a/b.zip", "a\\b.zip", "x" * 252 + ".zip"])
def test_an_archive_of_an_invalid_id_has_an_invalid_name(text: str) -> None:
    with pytest.raises(InvalidName):
        ArchiveName(text)


@pytest.mark.parametrize("text", ["a.zip", "a.b.zip", "a.tar.gz", "..a", "x" * 251 + ".zip", "a.é"])
def test_a_result_has_an_id_and_an_extension(text: str) -> None:
    assert ResultName(text) == text


@pytest.mark.parametrize("text", ["a", ".zip", "a.", "..."])
def test_without_an_extension_there_is_no_such_result(text: str) -> None:
    with pytest.raises(NotFound):
        ResultName(text)


@pytest.mark.parametrize("text", ["", "..", "a/b.zip", "a\\.zip", "a\r.zip", "x" * 252 + ".zip", "\ud800.zip"])
def test_a_result_name_that_breaks_the_rules_is_invalid(text: str) -> None:
    with pytest.raises(InvalidName):
        ResultName(text)


@pytest.mark.parametrize("text", ["da39a3ee5e6b4b0d3255bfef95601890afd80709", "0" * 40])
def test_a_sha1_is_40_lower_case_hex_digits(text: str) -> None:
    assert Sha1(text) == text


@pytest.mark.parametrize(
    "text", ["", "0" * 39, "0" * 41, "A" * 40, "g" * 40, "0" * 40 + "\n", "\uff10" * 40, "../" + "0" * 37]
)
def test_anything_else_is_not_stored_as_a_task_file(text: str) -> None:
    with pytest.raises(NotFound):
        Sha1(text)


@pytest.mark.parametrize(
    "text", ["a", "a/b/c.txt", "..a/b..", "a b/ c", "-", "~/x", "C:/x", 'q"uote.c', "per%2fcent", "ä/中"]
)
def test_a_file_path_is_taken_literally(text: str) -> None:
    assert FilePath(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/..", "../a", "a/../b", "a\\b", "a\0b", "a\tb", "\udcff"],
)
def test_a_file_path_that_breaks_the_rules_is_invalid(text: str) -> None:
    with pytest.raises(InvalidName):
        FilePath(text)


@pytest.mark.parametrize(
    ("text", "limits", "setting"),
    [
        ("é" * 5, NameLimits(max_name_bytes=10), None),
        ("é" * 5 + "a", NameLimits(max_name_bytes=10), "max_name_bytes"),
        ("a/" + "b" * 11, NameLimits(max_name_bytes=10), "max_name_bytes"),
        ("é" * 4 + "/a", NameLimits(max_path_bytes=10), None),
        ("é" * 4 + "/ab", NameLimits(max_path_bytes=10), "max_path_bytes"),
        ("a/b/c", NameLimits(max_path_depth=3), None),
        ("a/b/c/d", NameLimits(max_path_depth=3), "max_path_depth"),
    ],
)
def test_the_limits_of_a_path_count_bytes_and_components(text: str, limits: NameLimits, setting: str | None) -> None:
    if setting is None:
        assert FilePath(text, limits) == text
    else:
        with pytest.raises(InvalidName, match=setting):
            FilePath(text, limits)


@pytest.mark.parametrize("text", ["", "a/../b", "\\", "x" * 1024])
def test_the_key_of_a_task_file_may_be_any_text(text: str) -> None:
    assert check_text(text, "the key", 1024, "max_path_bytes") == text


@pytest.mark.parametrize("text", ["\0", "a\n", "\x7f", "\ud800", "é" * 512 + "a"])
def test_the_key_of_a_task_file_has_no_control_characters_and_an_end(text: str) -> None:
    with pytest.raises(InvalidName):
        check_text(text, "the key", 1024, "max_path_bytes")


@given(text=texts)
def test_a_quoted_name_fits_into_one_line_of_a_message(text: str) -> None:
    shown = quoted(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 80


paths = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)


@given(asked=st.lists(paths, max_size=12))
@example(asked=["a", "a/b"])
@example(asked=["a/b", "a"])
@example(asked=["a/b/c", "a/b"])
@example(asked=["a", "a/b", "a"])
def test_a_tree_never_holds_a_file_that_is_also_a_folder(asked: list[str]) -> None:
    tree, held = FileTree(), set[str]()
    for path in asked:
        clashes = any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in held)
        if clashes:
            with pytest.raises(InvalidName):
                tree.add(FilePath(path))
        else:
            assert tree.add(FilePath(path)) is (path not in held)
            held.add(path)
    with TemporaryDirectory() as folder:
        for path in held:
            Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, path).touch()


def test_a_folder_is_not_taken_for_another_that_begins_alike() -> None:
    tree = FileTree()
    assert tree.add(FilePath("ab/c"))
    assert tree.add(FilePath("a"))
    assert tree.add(FilePath("ab/cd"))
