"""The numbers for Prometheus: of the requests to all processes, and of what the working directory holds.

All of them come from the working directory, so that it does not matter which process is asked.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import cast

from flask import Blueprint, Flask, Response, current_app
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fileserver._version import __version__
from fileserver.maintenance.scrub import read_result
from fileserver.services import Services
from fileserver.storage.usage import folder_bytes
from fileserver.web.context import services
from fileserver.web.exchange import Observer
from fileserver.web.request_counts import BOUNDS, Counts, RequestCount, RequestCounts

blueprint = Blueprint("metrics", __name__)

_EXTENSION = "fileserver.request_counts"


def count_requests(app: Flask, services: Services) -> Observer:
    """What counts the exchanges with *app*, for its `/metrics` to tell."""
    counts = RequestCounts(services.staging.root)
    app.extensions[_EXTENSION] = counts
    return counts.add


@blueprint.get("/metrics")
def tell_metrics() -> Response:
    """All numbers in the text format of Prometheus."""
    counts = cast(RequestCounts, current_app.extensions[_EXTENSION])
    answer = Response(generate_latest(_Metrics(counts.read(), services())), content_type=CONTENT_TYPE_PLAIN_0_0_4)
    answer.headers["Cache-Control"] = "no-store"
    return answer


class _Metrics(Collector):
    """The families of numbers, in the order in which they are told."""

    def __init__(self, counts: Counts, services: Services) -> None:
        self._counts = counts
        self._services = services

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("fileserver", "The server.", {"version": __version__})
        started = self._services.ledger.started_at_seconds()
        yield _gauge("start_time_seconds", "When the first process that runs now began, since the epoch.", started)
        yield from self._requests()
        yield from self._routes()
        yield from self._stored()
        yield from self._space()
        yield from self._scrub()

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "fileserver_requests", "Requests, by method, route and status.", labels=("method", "route", "status")
        )
        failed_logins = 0.0
        for kind, count in self._counts.items():
            requests.add_metric([kind.method, kind.route, str(kind.status)], sum(count.by_seconds))
            failed_logins += count.failed_logins
        yield requests
        yield CounterMetricFamily("fileserver_failed_logins", "Logins with a wrong user or password.", failed_logins)

    def _routes(self) -> Iterator[Metric]:
        labels = ("method", "route")
        received = CounterMetricFamily("fileserver_received_bytes", "Bytes of bodies that were read.", labels=labels)
        sent = CounterMetricFamily("fileserver_sent_bytes", "Bytes of bodies that were sent.", labels=labels)
        seconds = HistogramMetricFamily(
            "fileserver_request_duration_seconds",
            "From the head of a request to its answer's last byte.",
            labels=labels,
        )
        for names, count in _by_route(self._counts).items():
            received.add_metric(names, count.received_bytes)
            sent.add_metric(names, count.sent_bytes)
            sums = zip([*map(str, BOUNDS), "+Inf"], accumulate(count.by_seconds), strict=True)
            seconds.add_metric(names, list(sums), count.seconds)
        yield from (received, sent, seconds)

    def _stored(self) -> Iterator[Metric]:
        files = GaugeMetricFamily(
            "fileserver_stored_files", "What is held: files, or submissions.", labels=("resource",)
        )
        size = GaugeMetricFamily("fileserver_stored_bytes", "Bytes that are held.", labels=("resource",))
        max_files = GaugeMetricFamily("fileserver_quota_files", "Quotas, where there are any.", labels=("resource",))
        max_bytes = GaugeMetricFamily("fileserver_quota_bytes", "Quotas, where there are any.", labels=("resource",))
        for resource, used in self._services.ledger.read().items():
            quota = self._services.settings.quotas.of(resource)
            files.add_metric([resource], used.files)
            size.add_metric([resource], used.size_bytes)
            if quota.max_files:
                max_files.add_metric([resource], quota.max_files)
            if quota.max_bytes:
                max_bytes.add_metric([resource], quota.max_bytes)
        yield from (files, size, max_files, max_bytes)

    def _space(self) -> Iterator[Metric]:
        staging = self._services.staging
        receptions = staging.transactions()
        size = sum(folder_bytes(path) for path in receptions)
        yield _gauge("staging_receptions", "Uploads, and archives that are built, in progress.", len(receptions))
        yield _gauge("staging_bytes", "Their bytes.", size)
        yield _gauge("free_bytes", "Free on the file system of the working directory.", staging.space.free_bytes())
        yield _gauge("reserve_bytes", "What uploads must leave free.", staging.space.reserve_bytes())

    def _scrub(self) -> Iterator[Metric]:
        """What the last scrub has found; nothing before the first."""
        result = read_result(self._services.staging.root)
        if result is None:
            return
        yield _gauge("scrub_finished_time_seconds", "When the last scrub ended, since the epoch.", result.finished_at)
        yield _gauge("scrub_duration_seconds", "How long it took.", result.seconds)
        yield _gauge("scrub_files", "Files that it has read.", result.files)
        yield _gauge("scrub_read_bytes", "Their bytes.", result.bytes_read)
        yield _gauge("scrub_damaged_files", "Files in which it has found damage.", result.damaged)
        yield _gauge("scrub_unreadable_files", "Files that it could not read.", result.unreadable)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"fileserver_{name}", meaning, value)


def _by_route(counts: Counts) -> Mapping[tuple[str, str], RequestCount]:
    routes: dict[tuple[str, str], RequestCount] = defaultdict(RequestCount)
    for kind, count in counts.items():
        routes[kind.method, kind.route] += count
    return routes
