"""How much memory a server's processes have used."""

from pathlib import Path


def processes(pid: int) -> list[int]:
    """Return *pid* and its descendants."""
    return [pid] + [process for child in children(pid) for process in processes(child)]


def children(pid: int) -> list[int]:
    """Return the processes that the first thread of *pid* has started and that are not waited for yet."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # It has just ended.
        return []


def peak_bytes(pid: int) -> dict[int, int]:
    """Return the peak resident size of every process of the server *pid*."""
    return {process: peak_of(process) for process in processes(pid)}


def peak_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")
