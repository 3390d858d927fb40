"""Tracing and what is around it: off, wrongly set, stopped, and with a collector that is down or hangs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from fileserver.core.errors import SettingsError
from fileserver.core.settings import parse_settings
from tests.cli.test_commands import EXIT_USAGE, environment, run
from tests.cli.test_serve_command import Serving, serving
from tests.support.clients import RawClient
from tests.support.collector import collecting
from tests.support.memory import children
from tests.support.servers import REPOSITORY, free_port, wait_until

NOWHERE = "http://127.0.0.1:9/v1/traces"
NEVER_MS = "3600000"
WORKERS = 2
MAX_MESSAGES = 2 * WORKERS
"""Two modules of OpenTelemetry have something to tell, once in a minute."""


@pytest.fixture(autouse=True)
def _only_our_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def ask(server: Serving) -> int:
    with RawClient(server.address) as client:
        return client.request("GET", "/healthz").status


def serving_with(tmp_path: Path, endpoint: str) -> AbstractContextManager[Serving]:
    return serving(tmp_path, "--bind", "127.0.0.1:0", "--workers", WORKERS, trace_endpoint=endpoint)


@pytest.mark.server
def test_what_is_not_sent_yet_is_sent_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", NEVER_MS)
    with collecting() as collector:
        with serving_with(tmp_path, collector.endpoint) as server:
            with ThreadPoolExecutor(8) as threads:
                assert list(threads.map(lambda _: ask(server), range(100))) == [200] * 100
            assert collector.bodies == []
            assert server.stop() == 0
        assert len(collector.awaited(100)) == 100


@pytest.mark.server
def test_a_worker_that_ends_sends_its_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", NEVER_MS)
    with collecting() as collector, serving_with(tmp_path, collector.endpoint) as server:
        assert ask(server) == 200
        for worker in children(server.process.pid):
            os.kill(worker, signal.SIGTERM)
        assert len(collector.awaited(1)) == 1
        assert ask(server) == 200
        assert server.stop() == 0
        assert len(collector.awaited(2)) == 2


@contextmanager
def bad_collector(kind: str) -> Iterator[str]:
    """The endpoint of one that is "down", "silent", or "refusing"."""
    if kind == "down":
        yield f"http://127.0.0.1:{free_port()}/v1/traces"
        return
    with collecting(status=503, silent=kind == "silent") as collector:
        yield collector.endpoint


@pytest.mark.server
@pytest.mark.parametrize("kind", ["down", "silent", "refusing"])
def test_a_bad_collector_costs_spans_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name, value in {"SCHEDULE_DELAY": 5, "MAX_QUEUE_SIZE": 16, "MAX_EXPORT_BATCH_SIZE": 4}.items():
        monkeypatch.setenv(f"OTEL_BSP_{name}", str(value))

    def seconds(_: int) -> float:
        began = time.monotonic()
        assert ask(server) == 200
        return time.monotonic() - began

    with bad_collector(kind) as endpoint, serving_with(tmp_path, endpoint) as server:
        with ThreadPoolExecutor(4) as threads:
            assert max(threads.map(seconds, range(400))) < 1
        assert wait_until(lambda: "tracing: " in server.output)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 6
        messages = [line for line in server.output.splitlines() if "tracing: " in line]
        assert len(messages) <= MAX_MESSAGES, messages
        told = [line for line in server.output.splitlines() if "/healthz" not in line]
        assert len(told) == len(messages) + 1, told


@pytest.mark.server
def test_the_variables_of_opentelemetry_are_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "files")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=one")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a secret")
    with collecting() as collector, serving_with(tmp_path, collector.endpoint) as server:
        assert ask(server) == 200
        assert server.stop() == 0
        (span,) = collector.awaited(1)
        names = ("service.name", "deployment.environment.name", "service.instance.id")
        assert [span.resource[name] for name in names] == ["files", "test", "one"]
        assert collector.headers[0]["x-key"] == "a secret"


@pytest.mark.server
@pytest.mark.parametrize("variable", [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")])
def test_spans_may_be_wanted_of_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: tuple[str, str]
) -> None:
    monkeypatch.setenv(*variable)
    with collecting() as collector:
        with serving_with(tmp_path, collector.endpoint) as server:
            assert ask(server) == 200
            assert server.stop() == 0
        assert collector.bodies == []


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_TRACES_SAMPLER", "allways_on", "allways_on"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "soon"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "zip"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "max_queue_size"),
        ("OTEL_BSP_SCHEDULE_DELAY", "often", "OTEL_BSP_SCHEDULE_DELAY"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "few", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "my secret", "Header format invalid"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused(tmp_path: Path, variable: str, value: str, told: str) -> None:
    result = run("--directory", tmp_path, "serve", env={"FILESERVER_TRACE_ENDPOINT": NOWHERE, variable: value})
    assert (result.returncode, result.stderr.count("\n")) == (EXIT_USAGE, 1), result.stderr
    assert "trace_endpoint: a variable OTEL_... makes no sense: " in result.stderr
    assert told in result.stderr
    assert "my secret" not in result.stderr


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:4318",
        "http://127.0.0.1:4318/",
        "127.0.0.1:4318/v1/traces",
        "grpc://127.0.0.1:4317/v1/traces",
        "http://me:secret@127.0.0.1/v1/traces",
        "http://127.0.0.1/v1/traces?key=secret",
        "http://127.0.0.1/v1/ traces",
    ],
)
def test_an_endpoint_that_can_be_none_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="trace_endpoint must be like http://127") as refused:
        parse_settings({"tracing": {"trace_endpoint": endpoint}})
    assert "secret" not in str(refused.value)


def python(code: str, *arguments: object, endpoint: str | None = None) -> "subprocess.CompletedProcess[str]":
    variables = {"FILESERVER_TRACE_ENDPOINT": endpoint} if endpoint else {}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


IMPORTED = """
import sys
from fileserver import create_app
assert create_app(sys.argv[1]).test_client().get("/healthz").status_code == 200
print("opentelemetry" in sys.modules, "requests" in sys.modules, "google.protobuf" in sys.modules)
"""


@pytest.mark.parametrize(("endpoint", "imported"), [(None, "False False False\n"), (NOWHERE, "True True True\n")])
def test_nothing_is_imported_before_it_is_wanted(tmp_path: Path, endpoint: str | None, imported: str) -> None:
    result = python(IMPORTED, tmp_path, endpoint=endpoint)
    assert result.stdout.endswith(imported), result


FORKED = """
import os, sys
from fileserver import create_app
client = create_app(sys.argv[1]).test_client()
client.get("/healthz", buffered=True)
child = os.fork()
client.get("/limits", buffered=True)
sys.exit(os.waitpid(child, 0)[1] if child else 0)
"""


def test_a_process_that_has_answered_may_be_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", NEVER_MS)
    with collecting() as collector:
        assert python(FORKED, tmp_path, endpoint=collector.endpoint).returncode == 0
        spans = collector.awaited(3)
    assert [span.name for span in spans] == ["GET /healthz", "GET /limits", "GET /limits"]
    assert len({span.resource["service.instance.id"] for span in spans}) == 2


EMBEDDED = """
import logging, sys
from fileserver import create_app
logging.basicConfig(format="%(name)s: %(message)s")
create_app(sys.argv[1])
for name in ("opentelemetry.sdk.one", "opentelemetry.sdk.other", "opentelemetry.trace.any"):
    for number in range(3):
        logging.getLogger(name).warning("%d of %s", number, name)
"""


def test_a_program_around_the_application_gets_few_messages(tmp_path: Path) -> None:
    told = python(EMBEDDED, tmp_path, endpoint=NOWHERE).stderr.splitlines()
    ours = "fileserver.web.spans: tracing: 0 of opentelemetry.sdk."
    assert told == [f"{ours}one", f"{ours}other"]


WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry"] = None
from fileserver.cli.main import cli
cli()
"""


def test_without_the_extra_its_name_is_told(tmp_path: Path) -> None:
    result = python(WITHOUT_THE_EXTRA, "--directory", tmp_path, "serve", endpoint=NOWHERE)
    assert (result.returncode, result.stderr.count("\n")) == (EXIT_USAGE, 1), result.stderr
    assert "trace_endpoint needs the extra recodex-fileserver[tracing]" in result.stderr


def test_without_the_extra_the_server_is_what_it_was(tmp_path: Path) -> None:
    assert python(f'import sys\nsys.modules["opentelemetry"] = None{IMPORTED}', tmp_path).returncode == 0
