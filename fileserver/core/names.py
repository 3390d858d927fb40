"""Validated names: what a client may call a thing, and nothing else.

A name that exists as an object of these classes is safe as a path below its resource's folder. The rules, with their
reasons, are in docs/http-api.md; all of them raise InvalidName.
"""

import re
from dataclasses import dataclass
from typing import Self

from fileserver.core.errors import InvalidName, NotFound

MAX_COMPONENT_BYTES = 255
"""What Linux file systems allow for one name (NAME_MAX)."""

ARCHIVE_SUFFIX = ".zip"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class NameLimits:
    """How long and deep the paths in a submission may be."""

    max_name_bytes: int = MAX_COMPONENT_BYTES
    max_path_bytes: int = 1024
    max_path_depth: int = 32


def quoted(text: str) -> str:
    """*text* for an error message: ASCII, at most 80 characters, nothing that breaks a line."""
    shown = ascii(text)
    return shown if len(shown) <= 80 else shown[:76] + "...'"


def _encoded(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidName(f"{what} {quoted(text)} is not UTF-8") from None


def check_text(text: str, what: str, max_bytes: int, setting: str = "") -> str:
    """Return *text* if it is UTF-8 without control characters, of at most *max_bytes*, the value of *setting*."""
    if len(_encoded(text, what)) > max_bytes:
        limit = f"{setting} = {max_bytes}" if setting else f"{max_bytes}"
        raise InvalidName(f"{what} {quoted(text)} is longer than {limit} bytes")
    if _CONTROL.search(text):
        raise InvalidName(f"{what} {quoted(text)} contains a control character")
    return text


def check_component(text: str, what: str, max_bytes: int, setting: str = "") -> str:
    """Return *text* if it can be one component of a path: not empty, no dots alone, no separator."""
    if text in ("", ".", ".."):
        raise InvalidName(f"{what} {quoted(text)} is not allowed")
    if "/" in text or "\\" in text:
        raise InvalidName(f"{what} {quoted(text)} contains a slash or a backslash")
    return check_text(text, what, max_bytes, setting)


class Id(str):
    """An id chosen by the API server: one component that leaves room for the suffix of its archive."""

    what = "the id"

    def __new__(cls, text: str) -> Self:
        limit = MAX_COMPONENT_BYTES - len(ARCHIVE_SUFFIX)
        return super().__new__(cls, check_component(text, cls.what, limit))


class SubmissionId(Id):
    """The id of a submission."""

    what = "the submission id"

    @property
    def archive_name(self) -> "ArchiveName":
        return ArchiveName(self + ARCHIVE_SUFFIX)


class AttachmentId(Id):
    """The id of an attachment."""

    what = "the attachment id"


class ArchiveName(str):
    """`<submission id>.zip`. Any other form raises NotFound, as no archive has such a name."""

    submission_id: SubmissionId

    def __new__(cls, text: str) -> Self:
        stem = text.removesuffix(ARCHIVE_SUFFIX)
        if not stem or stem == text:
            raise NotFound(f"{quoted(text)} is not the name of an archive, <id>{ARCHIVE_SUFFIX}")
        name = super().__new__(cls, text)
        name.submission_id = SubmissionId(stem)
        return name


class ResultName(str):
    """`<id>.<ext>` of a result. Without an extension it raises NotFound, as no result has such a name."""

    def __new__(cls, text: str) -> Self:
        check_component(text, "the result name", MAX_COMPONENT_BYTES)
        stem, _, extension = text.rpartition(".")
        if not stem or not extension:
            raise NotFound(f"{quoted(text)} is not the name of a result, <id>.<ext>")
        return super().__new__(cls, text)


class Sha1(str):
    """The lower-case hexadecimal SHA-1 of a task file. Anything else raises NotFound."""

    def __new__(cls, text: str) -> Self:
        if not _SHA1.fullmatch(text):
            raise NotFound(f"{quoted(text)} is not a SHA-1 in 40 lower-case hexadecimal digits")
        return super().__new__(cls, text)


class FilePath(str):
    """The path of a file in a submission: relative, `/` between components, each of them safe."""

    def __new__(cls, text: str, limits: NameLimits = NameLimits()) -> Self:
        what = f"the file name {quoted(text)}"
        if len(_encoded(text, "the file name")) > limits.max_path_bytes:
            raise InvalidName(f"{what} is longer than max_path_bytes = {limits.max_path_bytes}")
        components = text.split("/")
        if len(components) > limits.max_path_depth:
            raise InvalidName(f"{what} has more than max_path_depth = {limits.max_path_depth} components")
        for component in components:
            check_component(component, f"{what}: the component", limits.max_name_bytes, "max_name_bytes")
        return super().__new__(cls, text)


class FileTree:
    """The paths of one submission while it arrives: none is both a file and a folder."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, path: FilePath) -> bool:
        """Note *path*; False if it is there already. Raises InvalidName if it is a folder, or below a file."""
        if path in self._files:
            return False
        if path in self._folders:
            raise InvalidName(f"the file {quoted(path)} is also the folder of another file")
        components = path.split("/")
        parents = ["/".join(components[:depth]) for depth in range(1, len(components))]
        for parent in parents:
            if parent in self._files:
                raise InvalidName(f"the file {quoted(parent)} is also the folder of {quoted(path)}")
        self._files.add(path)
        self._folders.update(parents)
        return True
