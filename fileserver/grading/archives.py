"""Building the ZIP archive of a submission.

Equal files give equal bytes: entries in a fixed order, with fixed times and modes. ZIP64 is used where it is needed.
What does not compress is stored. The archive's comment tells its layout, so that no layout is ever taken for the
other.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fileserver.storage.folders import walk
from fileserver.storage.interface import StoredFile
from fileserver.storage.staging import COPY_BYTES

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_FOLDER_ATTRIBUTES = (stat.S_IFDIR | 0o755) << 16 | 0x10
_FILE_ATTRIBUTES = (stat.S_IFREG | 0o644) << 16
_SAMPLE_BYTES = 64 * 1024


def layout_comment(layout: str) -> bytes:
    """The comment of an archive of *layout*; it ends the file. Both layouts' comments have one length."""
    return f"recodex-fileserver archive_layout={layout:<6}".encode("ascii")


COMMENT_BYTES = len(layout_comment("nested"))


def archive_writer(
    folder: Path, open_file: Callable[[str], StoredFile], submission_id: str, layout: str
) -> Callable[[io.FileIO], None]:
    """A function that writes the archive of *folder* into a file; *open_file* opens a path in the folder.

    Nested: all entries are below `<submission_id>/`, as the original server makes it. Flat: they are at the root.
    """
    prefix = f"{submission_id}/" if layout == "nested" else ""

    def write(target: io.FileIO) -> None:
        with zipfile.ZipFile(target, "w") as archive:
            archive.comment = layout_comment(layout)
            if prefix:
                archive.writestr(_folder_entry(prefix), b"")
            for entry in walk(folder):
                if entry.is_folder:
                    archive.writestr(_folder_entry(f"{prefix}{entry.path}/"), b"")
                else:
                    with open_file(entry.path) as source:
                        _add_file(archive, prefix + entry.path, source)

    return write


def _folder_entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = _UNIX
    info.external_attr = _FOLDER_ATTRIBUTES
    return info


def _add_file(archive: zipfile.ZipFile, name: str, source: StoredFile) -> None:
    chunks = _chunks(source)
    first = next(chunks, b"")
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = _UNIX
    info.external_attr = _FILE_ATTRIBUTES
    info.compress_type = zipfile.ZIP_DEFLATED if _compresses(first[:_SAMPLE_BYTES]) else zipfile.ZIP_STORED
    info.file_size = source.size_bytes
    with archive.open(info, "w") as entry:
        while first:
            entry.write(first)
            first = next(chunks, b"")


def _chunks(source: StoredFile) -> Iterator[bytes]:
    while chunk := source.file.read(COPY_BYTES):
        yield chunk


def _compresses(sample: bytes) -> bool:
    """Whether deflating is worth its time: the beginning of a compressed file does not get smaller again."""
    return len(zlib.compress(sample, 1)) < 0.95 * len(sample)
