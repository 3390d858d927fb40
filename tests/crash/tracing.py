"""The file system calls of one thread of a server, seen and disturbed by strace.

strace counts the calls of each name for itself, from the moment it is attached to the thread. So a call is told by its
name and its number among the calls of that name. With ``signal=KILL`` the process dies when it enters the call: the
kernel does not carry the call out any more. With ``error=...`` the call is not carried out either, and returns that.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHANGING = set(
    """
    mkdir mkdirat mknod mknodat openat open creat write writev pwrite64 pwritev pwritev2 ftruncate truncate fallocate
    copy_file_range chmod fchmod fchmodat chown fchown fchownat lchown utimensat setxattr lsetxattr fsetxattr
    removexattr fremovexattr link linkat symlink symlinkat rename renameat renameat2 unlink unlinkat rmdir
    fsync fdatasync sync_file_range syncfs sendfile splice
    """.split()
)
"""Whatever changes a file system or makes it durable."""

READING = set("read pread64 newfstatat stat fstat lstat statx statfs getdents64 getxattr fgetxattr".split())
NEUTRAL = set(
    """
    close lseek fcntl flock ioctl mmap poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait
    sendto sendmsg recvfrom recvmsg accept4 shutdown getpeername getsockname getsockopt setsockopt
    readlink getcwd access
    """.split()
)
"""What a server may do besides: it neither reads nor changes a file system."""

_IN_TRANSACTION = re.compile("/staging/[0-9a-f]{32}")
_VARYING = re.compile(r"\b[0-9a-f]\b|[0-9a-f]{8,}|[0-9]+")
_CONTENT = re.compile(r'"(?:[^"\\]|\\.)*"')
_CARRYING_CONTENT = set("read pread64 write writev pwrite64 pwritev fsetxattr fgetxattr sendto recvfrom".split())
_TO_CLIENT = re.compile(r"(send\w+|write\w*|splice)\(\d+<(TCP|socket)")


@dataclass(frozen=True)
class Call:
    """One call, as strace tells it; *number* counts those of the same name, from 1."""

    name: str
    number: int
    text: str

    @property
    def changes(self) -> bool:
        """Whether it changed a file system or made it durable: reading and failing calls do not."""
        wrote_nothing = self.name == "write" and self.text.endswith(" = 0")
        only_opened = self.name == "openat" and "O_CREAT" not in self.text
        return self.name in CHANGING and not (wrote_nothing or only_opened or self.failed or self.answers)

    @property
    def failed(self) -> bool:
        return " = -1 " in self.text

    @property
    def answers(self) -> bool:
        """Whether it sent a part of the answer to the client."""
        return bool(_TO_CLIENT.match(self.text))

    @property
    def publishes(self) -> bool:
        """Whether it moved or removed a name outside of the transactions, or made that durable."""
        if self.name in ("unlink", "fsync"):
            return not _IN_TRANSACTION.search(self.text)
        return self.name.startswith("rename")

    @property
    def in_staging(self) -> bool:
        """Whether it concerns nothing but staging."""
        return not self.publishes and "/staging/" in self.text

    def concerns(self, folder: Path) -> bool:
        """Whether it concerns *folder*, or what is in it."""
        return bool(re.search(re.escape(str(folder)) + '[/">]', self.text))

    def is_like(self, other: "Call") -> bool:
        """Whether both are the same call of two runs of one operation, but for names that always differ."""
        return (self.name, self.number, self._paths()) == (other.name, other.number, other._paths())

    def _paths(self) -> list[str]:
        text = _CONTENT.sub("", self.text) if self.name in _CARRYING_CONTENT else self.text
        arguments = text.partition(" = ")[0]
        return [_VARYING.sub("*", path) for path in re.findall('[<"](/[^">]*)', arguments)]

    def __str__(self) -> str:
        return f"{self.name} {self.number}: {self.text}"


def calls_in(log: Path) -> list[Call]:
    """The calls in an output file of strace."""
    numbers: Counter[str] = Counter()
    calls = []
    for line in log.read_text(errors="replace").splitlines():
        if match := re.match(r"(\w+)\(", line):
            name = match[1]
            numbers[name] += 1
            calls.append(Call(name, numbers[name], line))
    unknown = {call.name for call in calls} - CHANGING - READING - NEUTRAL
    assert not unknown, f"do these change a file system? {unknown}"
    return calls


@contextmanager
def traced(thread_id: int, log: Path, inject: str = "") -> Iterator[None]:
    """Let strace write the calls of a thread to *log*, and *inject* what strace's option of that name says."""
    command = ["strace", "-y", "-s", "24", "-e", "trace=%file,%desc,%network", "-e", "signal=none", "-o", str(log)]
    if inject:
        command += ["-e", f"inject={inject}"]
    with subprocess.Popen([*command, "-p", str(thread_id)], stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr
        try:
            told = strace.stderr.readline()
            assert "attached" in told, told
            yield
        finally:
            strace.terminate()


def why_not_possible() -> str | None:
    """Why processes cannot be traced here; None where they can."""
    if not shutil.which("strace"):
        return "strace is not installed"
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            command = ["strace", "-o", os.devnull, "-p", str(sleeper.pid)]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
                assert strace.stderr
                told = strace.stderr.readline()
                strace.terminate()
        finally:
            sleeper.kill()
    return None if "attached" in told else told.strip() or "strace says nothing"
