"""The server as others on the machine and on the network see it: which files, which hosts, which key."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from rnr.app.cli import app
from rnr.view.guard import Guard
from tests.view.conftest import Serve, as_row, write_rows


def ask(address: str, path: str, method: str = "GET", body: object = None, **headers: str) -> tuple[int, dict, bytes]:
    """Status, headers and body; nothing is normalised on the way."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    data = None if body is None else json.dumps(body)
    sent = {"Content-Type": "application/json", "Origin": f"http://{place.netloc}"} if data else {}
    connection.request(method, path, data, sent | {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def first_id(address: str) -> str:
    rows = json.loads(ask(address, "/data/rows.js")[2].decode().removeprefix("globalThis.RNR=").rstrip().rstrip(";"))
    return rows["rows"][0][0]


def test_every_answer_forbids_inline_script_and_sniffing(address: str) -> None:
    identity = first_id(address)
    for path in (
        "/",
        f"/p/{identity}.html",
        f"/img/{identity}-before.png",
        "/static/table.js",
        "/gone",
        "/fig/3-0.png",
    ):
        headers = ask(address, path)[1]
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    page = ask(address, f"/p/{identity}.html")[2].decode()
    assert "<script>" not in page and "style=" not in page and " onclick" not in page


@pytest.mark.parametrize("path", [
    "/static/../pages.py", "/static/%2e%2e/pages.py", "/img/..%2f..%2fetc%2fpasswd", "/p/../../etc/passwd.html",
    "/img/0-../../x-before.png", "/again/..%2fastronaut.png", "/again/astronaut.png", "/fig/0--1.png", "/fig/9-9.png",
    "/thumb/x.jpg", "/views/0-abc.png", "/api/jobs/none", "/data/../../x", "/img/%00-before.png",
])  # fmt: skip
def test_no_path_leads_to_a_file(address: str, path: str) -> None:
    status, _, body = ask(address, path)
    assert status in (400, 404) and b"root:" not in body and b"import" not in body


def test_no_file_outside_of_the_folders_is_served(serve: Serve, gallery: Path, tmp_path: Path) -> None:
    """Records that name files elsewhere, outright, by `..` or through links."""
    secret = tmp_path / "secret" / "private.png"
    secret.parent.mkdir()
    shutil.copy(gallery / "clean" / "coffee.png", secret)
    run = tmp_path / "run"
    run.mkdir()
    (run / "link.png").symlink_to(secret)
    row = as_row(gallery / "run-a" / "coffee.diagnosis.json")
    for number, name in enumerate([str(secret), "../secret/private.png", "link.png"]):
        before = {k: v for k, v in row.items() if k != "file"}
        record = {"source": {"file": name}, "output": name, "before": before, "after": before}
        record["attribution"] = {"haze": name}
        record["restoration"] = {"legs": [{"picture": name}]}
        (run / f"{number}.diagnosis.json").write_text(json.dumps(record))
    (run / "4.diagnosis.json").symlink_to(gallery / "run-a" / "coffee.diagnosis.json")
    (run / "again").symlink_to(secret.parent)
    address = serve(run)
    rows = json.loads(ask(address, "/data/rows.js")[2].decode().removeprefix("globalThis.RNR=").rstrip().rstrip(";"))
    assert len(rows["rows"]) == 3
    for identity in (row[0] for row in rows["rows"]):
        for role in ("before", "after", "map-haze", "leg0"):
            assert ask(address, f"/img/{identity}-{role}.png")[0] == 404
        assert ask(address, f"/thumb/{identity}-before.jpg")[0] == 404
    assert ask(address, "/again/private.png")[0] == 404


def test_a_picture_that_is_none_is_not_served(serve: Serve, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<script>alert(1)</script>")
    rows = write_rows(
        tmp_path / "rows.jsonl", [as_row(gallery / "run-a" / "coffee.diagnosis.json") | {"file": "page.png"}]
    )
    address = serve(rows, tmp_path)
    status, headers, _ = ask(address, f"/img/{first_id(address)}-before.png")
    assert status == 404 and headers["content-type"].startswith("text/plain")


def test_loopback_knows_its_names_alone(address: str) -> None:
    port = urlsplit(address).port
    for host, status in {
        f"localhost:{port}": 200,
        f"127.0.0.1:{port}": 200,
        f"evil.example:{port}": 421,
        "": 421,
    }.items():
        assert ask(address, "/", Host=host)[0] == status


def test_another_site_cannot_write(serve: Serve, gallery: Path, tmp_path: Path) -> None:
    shutil.copytree(gallery / "run-a", tmp_path / "run")
    address = serve(tmp_path / "run")
    path = f"/api/notes/{first_id(address)}"
    assert ask(address, path, "POST", {"text": "a"}, Origin="http://evil.example")[0] == 403
    assert ask(address, path, "POST", {"text": "a"}, Content_Type="text/plain")[0] == 403
    assert not (tmp_path / "run" / "view-notes.jsonl").exists()
    assert ask(address, path, "POST", {"text": "a"})[0] == 201
    assert ask(address, path, "POST", {"text": "x" * 70_000})[0] == 400
    assert ask(address, path, "POST", ["no object"])[0] == 400
    assert ask(address, "/api/notes/0-none", "POST", {"text": "a"})[0] == 404


def test_a_host_on_the_network_asks_for_its_key(serve: Serve, gallery: Path) -> None:
    opened = serve(gallery / "run-a", "--host", "0.0.0.0")
    key = opened.partition("?key=")[2]
    address = f"http://127.0.0.1:{urlsplit(opened).port}/"
    assert len(key) >= 32
    for path in ("/", "/?key=wrong", "/data/rows.js", "/static/table.js"):
        assert ask(address, path)[0] == 401
    status, headers, _ = ask(address, f"/?key={key}")
    cookie = headers["set-cookie"]
    assert status == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie and key not in headers["location"]
    assert ask(address, "/", Cookie=cookie.partition(";")[0])[0] == 200
    assert ask(address, "/", Cookie="rnr-view=wrong")[0] == 401


def test_names_that_a_host_answers_to() -> None:
    assert not Guard("192.0.2.7").knows("evil.example") and Guard("192.0.2.7").knows("192.0.2.7:8000")
    everywhere = Guard("0.0.0.0")
    assert everywhere.knows("192.0.2.9:8000") and everywhere.knows("[2001:db8::1]:80")
    assert not everywhere.knows("rebound.example")  # a stranger's name that points here


def test_help_is_fast_and_loads_no_torch() -> None:
    started = time.monotonic()
    program = "import sys\nfrom rnr.app.cli import app\ntry: app(['view', '--help'])\nexcept SystemExit: pass\n"
    program += "print([m for m in ('torch', 'starlette', 'jinja2', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]" and "--export" in done.stdout
    assert time.monotonic() - started < 3  # 0.3 s here; a busy machine gets ten times that


def test_what_cannot_be_viewed_is_said_with_exit_code_2(tmp_path: Path, gallery: Path) -> None:
    for arguments, words in {
        (str(tmp_path),): "no records",
        (str(gallery / "run-a"), "--export", str(tmp_path)): "is there already",
    }.items():
        done = CliRunner().invoke(app, ["view", *arguments])
        assert done.exit_code == 2 and words in " ".join(done.output.split())


def test_export_says_what_is_missing(gallery: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "rnr",
        "view",
        str(gallery / "run-a"),
        "--export",
        str(tmp_path / "out"),
        "--no-views",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "3 records" in done.stdout  # the originals were not given, so that none is missing
    assert (tmp_path / "out" / "index.html").is_file() and len(list((tmp_path / "out" / "p").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # no temporary folder is left
