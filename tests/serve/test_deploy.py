"""Dockerfile and compose.yaml against reality: without Docker, by running what they run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.serve.conftest import KEY, ROOT


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of the Dockerfile, in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(line.split()[0], line.partition(" ")[2]) for line in text.splitlines() if line.strip()]


def named(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["rnr"]


def command() -> list[str]:
    return json.loads(named("ENTRYPOINT")[0]) + json.loads(named("CMD")[0])


def started_by(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    assert arguments[0] == "rnr"
    env = {k: v for k, v in os.environ.items() if k != "RNR_API_KEYS"} | environment
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=60, env=env)


def test_the_image_does_not_start_without_a_key() -> None:
    done = started_by(command())
    assert done.returncode == 2 and "there is no API key" in done.stderr  # its options were understood


def test_compose_starts_the_same_command_with_the_keys_of_a_secret() -> None:
    settings = compose()
    secret = f"/run/secrets/{settings['secrets'][0]}"
    done = started_by([*json.loads(named("ENTRYPOINT")[0]), *settings["command"]])
    assert done.returncode == 2 and f"{secret}: API keys cannot be read" in done.stderr
    assert settings["ports"] == ["127.0.0.1:8000:8000"] and settings["build"] == "."


def test_the_health_check_asks_the_port_of_the_command() -> None:
    port = command()[command().index("--port") + 1]
    (check,) = named("HEALTHCHECK")
    assert f":{port}/ready" in check and named("EXPOSE") == [port]


def test_the_image_installs_what_is_declared_and_runs_as_nobody() -> None:
    install, user = named("RUN")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (extra,) = re.findall(r"\"\.\[(\w+)\]\"", install)
    assert extra in extras and "-c constraints.txt" in install
    assert user.split()[0] == "useradd" and named("USER") == [user.split()[-1]]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert "keys.txt" in ignored and not {"rnr", "README.md", "constraints.txt"} & set(ignored)


@pytest.mark.deploy
def test_the_commands_of_the_image_in_a_fresh_environment(tmp_path: Path) -> None:
    source, python = tmp_path / "src", tmp_path / "venv" / "bin" / "python"
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [str(python) if word == "python" else word for word in shlex.split(named("RUN")[0])]
    subprocess.run(install, cwd=source, check=True)
    shutil.rmtree(source)  # what runs is what was installed

    bare = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "RNR_API_KEYS": KEY}
    process = subprocess.Popen([python.parent / "rnr", *command()[1:]], cwd=tmp_path, env=bare, stderr=subprocess.PIPE)
    try:
        check = named("HEALTHCHECK")[0].partition("CMD ")[2]
        deadline = time.monotonic() + 300
        while subprocess.run([python, *json.loads(check)[1:]], stderr=subprocess.DEVNULL).returncode:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(1)
        request = urllib.request.Request("http://127.0.0.1:8000/metrics", headers={"X-API-Key": KEY})
        assert b"rnr_workers_ready" in urllib.request.urlopen(request).read()
    finally:
        process.terminate()
        process.wait(60)
