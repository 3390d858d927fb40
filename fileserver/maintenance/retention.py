"""The rules of retention: what goes, and why. Doing it is the business of `gc`."""

from collections.abc import Callable
from dataclasses import dataclass

from fileserver.core.sections import RetentionSettings
from fileserver.maintenance.keep_list import KeepList
from fileserver.storage.last_use import DAY_NS

DEFAULT_GRACE_DAYS = 14
"""For task files that are not in the keep-list, where task_file_grace_days is not set."""


AgeRule = Callable[[int], str | None]
"""Tells why something of that time (nanoseconds since the epoch) goes; None if it stays."""


def age_rule(event: str, setting: str, days: int, now_ns: int) -> AgeRule:
    """The rule that things go *days*, the value of *setting*, after an *event* such as "stored"; 0 is never."""

    def rule(event_ns: int) -> str | None:
        age_ns = now_ns - event_ns
        if not days or age_ns <= days * DAY_NS:
            return None
        return f"{event} {age_ns / DAY_NS:.1f} days ago, {setting} is {days}"

    return rule


@dataclass(frozen=True)
class TaskFileRule:
    """Which task files go: those unused since *unused_since_ns*, and not in the list, if there is one."""

    unused_since_ns: int
    grace_days: int
    keep: KeepList | None

    def reason(self, sha1: str, used_ns: int) -> str | None:
        """Why a task file that was used or stored last at *used_ns* goes; None if it stays."""
        if used_ns >= self.unused_since_ns or (self.keep and sha1 in self.keep):
            return None
        days = self.grace_days + (self.unused_since_ns - used_ns) / DAY_NS
        before = "before the keep-list was made, which lacks it" if self.keep else "ago"
        return f"last used {days:.1f} days {before}, task_file_grace_days is {self.grace_days}"


def task_file_rule(settings: RetentionSettings, now_ns: int, keep: KeepList | None) -> TaskFileRule | None:
    """The rule for task files; None if they stay for ever.

    The grace counts back from when the keep-list was made: of what was stored or asked about later it cannot know.
    """
    grace_days = settings.task_file_grace_days or (DEFAULT_GRACE_DAYS if keep else 0)
    if not grace_days:
        return None
    known_until_ns = min(now_ns, keep.made_at_ns) if keep else now_ns
    return TaskFileRule(known_until_ns - grace_days * DAY_NS, grace_days, keep)
