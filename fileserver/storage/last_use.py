"""When a file was used last, to the day: the later of its access and its modification time.

File systems may be mounted without access times, and none keeps them when a file is only asked about. So the server
notes a use itself, at most once a day for each file.
"""

import errno
import os
import time

from fileserver.storage.filesystem import set_access_time

DAY_NS = 86_400 * 10**9

_NOT_OURS = (errno.EPERM, errno.EACCES, errno.EROFS)


def last_used_ns(info: os.stat_result) -> int:
    """When the file of this status was used or stored last, in nanoseconds since the epoch, up to a day early."""
    return max(info.st_atime_ns, info.st_mtime_ns)


def is_recent(used_ns: int) -> bool:
    """Whether a use at *used_ns* makes it needless to note one now."""
    return time.time_ns() - used_ns < DAY_NS


def note_use(fd: int) -> None:
    """Note that the open file is used now, where this process may: in a file of another user it may not."""
    try:
        set_access_time(fd, time.time_ns())
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
