"""After a change of `archive_layout`: the archives of the other layout go, to be rebuilt when they are asked for.

The server itself would never serve them, but a web server that sends archives from the disk cannot tell them apart.
"""

import logging
from contextlib import suppress

from fileserver.core.errors import NotFound
from fileserver.grading.archives import COMMENT_BYTES, layout_comment
from fileserver.maintenance.listing import rebuildable_archives
from fileserver.services import Services

log = logging.getLogger(__name__)

_STATE = ".layout"
"""The file in staging that tells which layout all archives have that belong to their submission."""


def remove_other_layouts(services: Services) -> None:
    """Remove the archives that belong to their submission but are of another layout than that of the settings.

    Nothing is done if that was done before. Where the disk fails it is done by the next start.
    """
    comment = layout_comment(services.settings.grading.archive_layout)
    try:
        if not _is_done(services, comment):
            _remove_others(services, comment)
            services.staging.keep(_STATE, comment)
    except OSError as error:
        log.warning("archives of another layout cannot be removed yet: %s", error)


def _is_done(services: Services, comment: bytes) -> bool:
    try:
        return (services.staging.root / _STATE).read_bytes() == comment
    except FileNotFoundError:
        return False


def _remove_others(services: Services, comment: bytes) -> None:
    archives, removed = services.buckets["submission_archives"], 0
    for listed in rebuildable_archives(services):
        with suppress(NotFound):
            with archives.open(listed.key, unnoticed=True) as archive:
                is_current = archive.read_tail(COMMENT_BYTES) == comment
            if not is_current:
                removed += archives.discard(listed.key, listed.version)
    if removed:
        log.warning("%d archives of another archive_layout are removed; they are rebuilt on demand", removed)
