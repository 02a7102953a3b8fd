"""`slimwire health` against servers that are well, ill, and away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from slimcli.app import run
from slimcli.exits import ExitCode
from support.http_serving import serving


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"as it should be" if self.path == "/livez" else b"the detector is stuck"
        self.send_response(200 if self.path == "/livez" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests print nothing."""


@pytest.fixture
def http_address() -> Iterator[str]:
    with serving(_Handler) as address:
        yield address


@pytest.fixture
def grpc_address() -> Iterator[str]:
    """A server whose service "well" serves and whose service "ill" does not."""
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        servicer = HealthServicer()
        servicer.set("well", health_pb2.HealthCheckResponse.SERVING)
        servicer.set("ill", health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"grpc://127.0.0.1:{port}"
        server.stop(0).wait()


def test_what_is_well_is_said_to_be(
    http_address: str, grpc_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["health", f"{http_address}/livez", f"{grpc_address}/well"])

    assert code == 0
    assert capsys.readouterr().out.count(": well\n") == 2


def test_a_proxy_of_the_environment_is_not_asked(
    http_address: str, grpc_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody is there
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)

    assert run(["health", f"{http_address}/livez", f"{grpc_address}/well"]) == 0


def test_what_is_ill_says_why(http_address: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["health", f"{http_address}/readyz"])

    assert code == ExitCode.UNAVAILABLE
    assert "answers 503: the detector is stuck" in capsys.readouterr().err


def test_a_service_that_does_not_serve_is_ill(
    grpc_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["health", f"{grpc_address}/ill"])

    assert code == ExitCode.UNAVAILABLE
    assert "NOT_SERVING" in capsys.readouterr().err


def test_nobody_there_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    codes = [
        run(["health", "--timeout", "2", target])
        for target in ("http://127.0.0.1:9/livez", "grpc://127.0.0.1:9")
    ]

    assert codes == [ExitCode.UNAVAILABLE] * 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_unknown_scheme_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["health", "ftp://127.0.0.1"]) == ExitCode.USAGE
    assert "expected http[s]://" in capsys.readouterr().err
