"""What is decided before anything listens."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rnr.app.cli import app
from rnr.degradation.errors import SetupError
from rnr.serve.settings import Keys, Settings, check_exposure, is_loopback, read_keys

KEY = "a" * 20


def rnr(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "rnr", *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("host, loopback", [
    ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
    ("192.168.1.4", False), ("localhost.example.org", False), ("", False),
])  # fmt: skip
def test_only_loopback_needs_no_key(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
    if loopback:
        check_exposure(host, Keys(), insecure=False)
    else:
        with pytest.raises(SetupError, match="--keys"):
            check_exposure(host, Keys(), insecure=False)
    check_exposure(host, Keys([KEY]), insecure=False)
    check_exposure(host, Keys(), insecure=True)


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the studio\n{KEY}1\n\n")
    monkeypatch.setenv("RNR_API_KEYS", f"{KEY}2, {KEY}3")
    keys = read_keys(file)
    names = [keys.named(f"{KEY}{n}") for n in (1, 2, 3)]
    assert all(names) and len(set(names)) == 3
    assert [keys.named(key) for key in ("", KEY, f"{KEY}1 ", f"{KEY}1".upper(), "# of the studio")] == [None] * 5
    assert KEY not in str(vars(keys))


@pytest.mark.parametrize("text, problem", [("short", "fewer than 16"), ("# nothing\n", "holds no API key")])
def test_bad_key_files_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(SetupError, match=problem):
        read_keys(file)
    with pytest.raises(SetupError, match="cannot be read"):
        read_keys(tmp_path / "no")


def test_every_known_key_is_compared_with_every_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    import rnr.serve.settings as settings

    seen: list[tuple[bytes, bytes]] = []

    def compared(a: bytes, b: bytes) -> bool:
        seen.append((a, b))
        return a == b

    monkeypatch.setattr(settings.hmac, "compare_digest", compared)
    keys = Keys([KEY + "1", KEY + "2", KEY + "3"])
    for key in (KEY + "1", KEY + "3", "x"):
        seen.clear()
        keys.named(key)
        assert len(seen) == 3 and all(len(a) == len(b) == 32 for a, b in seen)


def test_threads_are_shared_out() -> None:
    assert Settings(workers=64).as_plain()["threads"] == 1
    assert Settings(workers=64, threads=3).as_plain()["threads"] == 3


@pytest.mark.parametrize("command", [["serve"], ["mcp", ".", "-o", "out", "--http"]])
def test_the_command_does_not_listen_to_the_world_without_a_key(command: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*command, "--host", "0.0.0.0"])
    assert done.exit_code == 2 and "there is no API key" in " ".join(done.output.split())


def test_help_is_fast() -> None:
    started = time.monotonic()
    done = rnr("serve", "--help")
    assert done.returncode == 0 and "--workers" in done.stdout
    assert time.monotonic() - started < 3  # 0.3 s of CPU; the machine may be busy


@pytest.mark.slow  # a worker has to start for it
def test_a_model_that_is_not_there_ends_the_service() -> None:
    done = rnr("serve", "--workers", "1", "--port", "8999", "--reasoner", "/no/such/folder")
    assert done.returncode == 2 and "/no/such/folder" in done.stderr
