"""A connection whose patience with its client has an end: one rule for heads, bodies and answers."""

import errno
import logging
import math
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import IO, NoReturn, TypeVar

from fileserver.core.sections import LimitSettings

log = logging.getLogger(__name__)

_MAX_SENDFILE_BYTES = 1 << 30
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_Result = TypeVar("_Result")


class TooSlow(TimeoutError):
    """The client has used up the patience of its connection."""

    def __init__(self, message: str) -> None:
        # Web servers take this for a lost connection, and end it without a stack trace in the log.
        super().__init__(errno.ECONNRESET, message)


class PatientSocket(socket.socket):
    """A connection that waits for its client for max_idle_seconds all in all; it takes over the *accepted* socket.

    Each byte that is received, or handed to the kernel, makes up for 1 / min_bytes_per_second seconds of waiting. Only
    the time counts in which this socket waits: while the server works, its client loses nothing. `recv`, `send`,
    `sendall` and `sendfile` raise TooSlow when the patience is at its end. Timeouts hold for `recv` only.
    """

    def __init__(self, accepted: socket.socket, limits: LimitSettings) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        # The descriptor never blocks; all waiting is done in `_wait`.
        super().setblocking(False)
        self._timeout: float | None = None
        self._full_seconds = float(limits.max_idle_seconds)
        self._seconds_per_byte = 1 / limits.min_bytes_per_second
        self._moved_bytes = 0
        self.renew()

    def renew(self, at_most_seconds: float = math.inf) -> None:
        """Have full patience again, or so much, for what is read or sent next."""
        self._patience_seconds = min(self._full_seconds, at_most_seconds)

    def settimeout(self, seconds: float | None, /) -> None:
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool, /) -> None:
        self._timeout = None if flag else 0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data = self._patiently(select.POLLIN, partial(super().recv, size, flags))
        self._moved_bytes += len(data)
        return data

    def send(self, data: bytes, flags: int = 0, /) -> int:  # type: ignore[override]
        sent_bytes = self._patiently(select.POLLOUT, partial(super().send, data, flags))
        self._moved_bytes += sent_bytes
        return sent_bytes

    def sendall(self, data: bytes, flags: int = 0, /) -> None:  # type: ignore[override]
        view = memoryview(data)
        while view:
            view = view[self.send(view, flags) :]  # type: ignore[arg-type]

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]
        """As that of `socket.socket`, for regular files; it ends early where the file does.

        In the end, be it an error, the file stands behind what was sent.
        """
        end = math.inf if count is None else offset + count
        position = offset
        try:
            while position < end:
                wanted = int(min(_MAX_SENDFILE_BYTES, end - position))
                operation = partial(os.sendfile, self.fileno(), file.fileno(), position, wanted)
                sent_bytes = self._patiently(select.POLLOUT, operation)
                if not sent_bytes:
                    break
                self._moved_bytes += sent_bytes
                position += sent_bytes
        finally:
            file.seek(position)
        return position - offset

    def _patiently(self, event: int, operation: Callable[[], _Result]) -> _Result:
        """The result of *operation*, repeated until it does not have to wait for *event*."""
        while True:
            try:
                return operation()
            except BlockingIOError:
                if self._timeout == 0:
                    raise
                self._wait(event)

    def _wait(self, event: int) -> None:
        """Wait for *event*; what was moved since the last time makes up for it. Raises TooSlow.

        The kernel tells of room to send only when a good part of its buffer is free. So a wait that ends without the
        event is followed by one more attempt, which moves what the client has taken meanwhile.
        """
        receiving = event == select.POLLIN
        earned = self._moved_bytes * self._seconds_per_byte
        self._patience_seconds = min(self._full_seconds, self._patience_seconds + earned)
        self._moved_bytes = 0
        if self._patience_seconds <= 0:
            self._give_up(receiving)
        longest = self._timeout if receiving and self._timeout is not None else math.inf
        poll, begun = select.poll(), time.monotonic()
        poll.register(self, event)
        ready = poll.poll(1000 * min(longest, self._patience_seconds))
        self._patience_seconds -= time.monotonic() - begun
        if not ready and receiving:
            self._give_up(receiving)

    def _give_up(self, receiving: bool) -> NoReturn:
        if not receiving:
            # What the client does not take would lie in the kernel for minutes.
            self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            log.warning("an answer is given up: the client takes it slower than min_bytes_per_second")
        raise TooSlow("the client is too slow")
