"""The worker class for gunicorn: `gunicorn -k fileserver.web.worker.PatientWorker`."""

import errno
import socket
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from types import FrameType
from typing import Any

from gunicorn.errors import AppImportError
from gunicorn.workers.gthread import TConn, ThreadWorker

from fileserver.core.errors import SettingsError
from fileserver.web.context import services_of
from fileserver.web.exposure import require_credentials
from fileserver.web.patience import PatientSocket

_FIRST_BYTE_SECONDS = 10
_HEAD_SECONDS = 10
_FAREWELL_SECONDS = 2
_DROP_BYTES = 64 * 1024
_PAUSE_SECONDS = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """Gunicorn's worker with threads, but no client holds a thread for longer than the settings allow.

    Connections are PatientSockets (but for those that gunicorn itself encrypts). One that has sent nothing yet, and
    one that has got its last answer and is not closed by its client yet, wait in the main loop and hold no thread.
    """

    sockets: list[socket.socket]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._busy: set[TConn] = set()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Let no header of a request, such as SCRIPT_NAME, choose which part of its path counts, or which scheme.

        Which proxies are believed is the business of `fileserver.web.proxies`.
        """
        super().check_config(cfg, log)
        cfg.set("forwarder_headers", "")
        cfg.set("secure_scheme_headers", {})

    def load_wsgi(self) -> None:
        """Take the application, unless other machines could reach it without credentials.

        Only now the sockets are known, be they given, passed by systemd, or of each worker its own.
        """
        super().load_wsgi()
        try:
            require_credentials(self.sockets, services_of(self.wsgi).settings)
        except SettingsError as error:
            raise AppImportError(str(error)) from None

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection. Where there are no descriptors left, the worker goes on with those that it has."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self.log.warning("no connection can be accepted: %s", error.strerror)
            time.sleep(_PAUSE_SECONDS)  # The listener stays readable, so that the main loop would spin.

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections, or not. When the worker is to stop, those that wait are taken, and no more can come."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            before = None
            while before != self.nr_conns:
                before = self.nr_conns
                self.accept(listener)
            # Else the kernel would go on taking connections that nobody answers.
            listener.close()
        self.sockets = []

    def enqueue_req(self, conn: TConn) -> None:
        """Let a thread handle *conn*, if it has sent something."""
        if conn.data_ready:
            super().enqueue_req(conn)
            return
        limits = services_of(self.wsgi).settings.limits
        conn.sock = PatientSocket(conn.sock, limits)
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + min(_FIRST_BYTE_SECONDS, limits.max_idle_seconds)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: TConn) -> Any:
        """Answer one request, in a thread; the result tells whether the connection can be kept."""
        if isinstance(conn.sock, PatientSocket):
            conn.sock.renew(_HEAD_SECONDS)
        self._busy.add(conn)
        try:
            return super().handle(conn)
        finally:
            self._busy.discard(conn)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """End at once: cut the connections in use, as the process does not end before its threads have."""
        for conn in list(self._busy):
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)
        super().handle_quit(sig, frame)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Let the application answer *req*, the last one where a proxy may have seen another end of it."""
        if any(name == "TRANSFER-ENCODING" and value.strip().lower() != "chunked" for name, value in req.headers):
            req.force_close()
        if isinstance(conn.sock, PatientSocket):
            conn.sock.renew()
        return super().handle_request(req, conn)

    def finish_request(self, conn: TConn, future: "Future[Any]") -> None:
        """Keep the connection, or end it so that the client can read its answer to the end (RFC 9112, 9.6)."""
        if future.cancelled() or future.exception() or future.result():
            super().finish_request(conn, future)
            return
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        # At the end of those that are kept, which are in the order of their timeouts.
        patience_seconds = max(_FAREWELL_SECONDS, self.cfg.keepalive) if self.alive else _FAREWELL_SECONDS
        conn.timeout = time.monotonic() + patience_seconds
        conn.droppable_bytes = _DROP_BYTES
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self._drop_rest, conn))

    def _drop_rest(self, conn: TConn, connection: socket.socket) -> None:
        """Drop what a client sends after its last answer, up to _DROP_BYTES; close when it closes."""
        try:
            dropped = connection.recv(conn.droppable_bytes)
            conn.droppable_bytes -= len(dropped)
            if dropped:
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.poller.unregister(connection)
        self.keepalived_conns.remove(conn)
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()
