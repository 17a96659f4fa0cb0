"""A vLLM server of its own environment: `make test-vllm` names that environment's Python in RNR_VLLM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PYTHON = os.environ.get("RNR_VLLM", "")
PATIENCE = 600  # seconds until it must answer


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not PYTHON:
        pytest.skip("RNR_VLLM names no Python with vLLM: run make test-vllm")
    from rnr.reasoner.export_vllm import export_for_vllm

    return export_for_vllm("built-in", tmp_path_factory.mktemp("vllm") / "served")


def surroundings() -> dict[str, str]:
    """Environment variables for a Python with vLLM."""
    places = [str(Path(__file__).parent / "shim"), str(Path(__file__).parents[2])]
    settings = {"PYTHONPATH": os.pathsep.join(places), "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1",
                "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
    return os.environ | settings


@contextmanager
def running(folder: Path, log: Path, *more: object) -> Iterator[tuple[str, Callable[[], None]]]:
    """(url, a call that kills it) of a server that is ready; `more`: further arguments."""
    from rnr.reasoner.export_vllm import image_limit

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--served-model-name", "reasoner"]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "4096", "--port", port]
    command += ["--host", "127.0.0.1", "--limit-mm-per-prompt", image_limit(folder), *more]
    with log.open("w") as file:
        process = subprocess.Popen(list(map(str, command)), stdout=file, stderr=file, env=surroundings(),
                                   start_new_session=True)  # fmt: skip

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    try:
        _wait(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}", kill
    finally:
        kill()


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)
            return
        except OSError:
            time.sleep(1)
    pytest.fail(f"vLLM did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Callable[[], None]]]:
    with running(served, tmp_path_factory.mktemp("log") / "vllm.log") as found:
        yield found
