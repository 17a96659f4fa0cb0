"""The service as clients meet it: a real process on loopback."""

from __future__ import annotations

import base64
import email
import email.policy
import http.client
import io
import json
import re
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

import rnr
from rnr.images.files import Picture, encoded, read_stream
from rnr.serve.hostile import Upload, hostile
from rnr.serve.local import Answer, Local
from rnr.work.models import Models
from tests.serve.conftest import KEY, pixels


def form(upload: Upload, **fields: str) -> Upload:
    return replace(upload, fields={**upload.fields, **fields})


def test_diagnose_says_what_the_library_says(service: Local, models: Models, noisy: np.ndarray, photo: Upload) -> None:
    answer = service.post("/diagnose", photo)
    assert answer.status == 200, answer.body
    record = models.reasoner.diagnose([noisy])[0]
    assert answer.json["record"]["diagnosis"] == record.diagnosis.model_dump(mode="json")  # type: ignore[union-attr]
    expected = record.expected_severity("noise")
    assert answer.json["summary"]["expected_severity"]["noise"] == pytest.approx(expected, abs=0.051)  # one decimal
    assert answer.json["source"] | {"sha256": ""} == {
        "file": "photo.png", "sha256": "", "width": 192, "height": 160, "format": "PNG", "bit_depth": 8,
    }  # fmt: skip


def test_restore_gives_the_librarys_picture_with_its_record(
    service: Local, models: Models, noisy: np.ndarray, photo: Upload
) -> None:
    assert models.device == "cpu"  # one thread
    result = rnr.restore(noisy, num_inference_steps=2, device="cpu")
    answer = service.post("/restore", form(photo, num_inference_steps="2"))
    said = answer.json
    assert np.array_equal(pixels(base64.b64decode(said["picture"]["data"])), result.pixels_HWC3)
    assert said["picture"]["media_type"] == "image/png" and said["record"]["output"] == "photo.png"
    assert (
        said["record"]["request"]["steps"] == 2 and said["record"]["versions"]["reason-and-restore"] == rnr.__version__
    )
    assert (
        said["summary"]["after"]["expected_severity"]["noise"] < said["summary"]["before"]["expected_severity"]["noise"]
    )


def test_json_with_base64_is_the_same_request(service: Local, photo: Upload) -> None:
    body = {"picture": base64.b64encode(photo.data).decode(), "name": "photo.png", "only": ["noise"]}
    in_json = service.post("/restore", Upload("", json.dumps(body).encode(), media="application/json"))
    in_form = service.post("/restore", form(photo, only="noise"))
    assert in_json.status == in_form.status == 200
    assert in_json.json["picture"] == in_form.json["picture"] and in_json.json["record"]["request"]["only"] == ["noise"]


def test_16_bits_come_back_as_16_bits(service: Local, noisy: np.ndarray) -> None:
    deep = Picture(noisy.astype(np.uint16) * 257, mode="RGB;16")
    data = encoded(deep, deep.as_float(), "deep.png")
    answer = service.post("/restore", Upload("", data, "deep.png"), Accept="image/png")
    back = read_stream(io.BytesIO(answer.body), "deep.png")
    assert answer.headers["content-type"] == "image/png" and back.bit_depth == 16 and back.size == (192, 160)
    assert len(np.unique(back.pixels_HWC3 % 257)) > 200  # and they hold more than 8 of them


@pytest.mark.parametrize("wanted, kind", [("jpeg", "JPEG"), ("tiff", "TIFF"), ("webp", "WEBP")])
def test_the_format_of_the_answer_can_be_chosen(service: Local, photo: Upload, wanted: str, kind: str) -> None:
    answer = service.post("/restore", form(photo, format=wanted), Accept="image/*")
    assert Image.open(io.BytesIO(answer.body)).format == kind and answer.headers["content-type"] == f"image/{wanted}"
    assert answer.headers["x-rnr-untouched"] == "false" and "noise=" in answer.headers["x-rnr-severity-before"]


def test_picture_and_record_side_by_side(service: Local, photo: Upload) -> None:
    answer = service.post("/restore", photo, Accept="multipart/mixed")
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    record, picture = (
        part for part in email.message_from_bytes(head + answer.body, policy=email.policy.HTTP).iter_parts()
    )
    assert json.loads(record.get_content())["record"]["source"]["file"] == "photo.png"
    assert pixels(picture.get_content()).shape == (160, 192, 3) and picture.get_filename() == "photo.png"


def test_where_nothing_is_to_be_done_the_very_bytes_come_back(service: Local, photo: Upload) -> None:
    nothing = json.dumps({"findings": {"noise": {"present": False, "severity": 0}}})
    answer = service.post("/restore", form(photo, diagnosis=nothing), Accept="image/png")
    assert answer.body == photo.data and answer.headers["x-rnr-untouched"] == "true"


def test_strength_is_that_of_the_library(service: Local, noisy: np.ndarray, photo: Upload) -> None:
    assert service.post("/restore", form(photo, strength="0"), Accept="image/png").body == photo.data
    half = rnr.restore(noisy, strength={"noise": 50}, only="noise", device="cpu").pixels_HWC3
    given = {"picture": base64.b64encode(photo.data).decode(), "only": ["noise"], "strength": {"noise": 50}}
    body = Upload("", json.dumps(given).encode(), media="application/json")
    in_json = service.post("/restore", body, Accept="image/*")
    in_form = service.post("/restore", form(photo, only="noise", strength="noise=50"), Accept="image/*")
    assert in_json.body == in_form.body and np.array_equal(pixels(in_form.body), half)
    for wrong in ("101", "-1", "nan", "fog=3", "noise=x"):
        assert service.post("/restore", form(photo, strength=wrong)).status == 422, wrong
    agent = service.post("/agent", form(photo, strength="0"))
    result = events(agent.body)[-1][1]
    assert result["record"]["untouched"] and base64.b64decode(result["picture"]["data"]) == photo.data


def events(body: bytes) -> list[tuple[str, dict]]:
    blocks = [block for block in body.decode().split("\n\n") if block.startswith("event: ")]
    return [(b.partition("\n")[0][7:], json.loads(b.partition("\ndata: ")[2])) for b in blocks]


def test_the_agent_tells_its_steps_as_they_happen(service: Local, photo: Upload) -> None:
    answer = service.post("/agent", form(photo, strategy="one-pass"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    names, data = zip(*events(answer.body))
    assert names[0] == "diagnosed" and names[-2:] == ("finished", "result")
    result = data[-1]
    assert result["status"] == "done" and result["story"] and pixels(base64.b64decode(result["picture"]["data"])).shape
    assert result["record"]["before"]["diagnosis"]["findings"]["noise"]["present"]


def test_the_agent_refuses_before_it_says_200(service: Local) -> None:
    answer = service.post("/agent", Upload("", b"no picture"))
    assert (answer.status, answer.json["error"]["code"]) == (422, "picture_refused")


@pytest.mark.parametrize("headers, status", [
    ({"X-API-Key": ""}, 401), ({"X-API-Key": KEY + "x"}, 401),
    ({"X-API-Key": "", "Authorization": "Basic " + KEY}, 401),
    ({"X-API-Key": KEY}, 200), ({"X-API-Key": "", "Authorization": "Bearer " + KEY}, 200),
])  # fmt: skip
def test_keys(service: Local, photo: Upload, headers: dict[str, str], status: int) -> None:
    answer = service.post("/diagnose", photo, **headers)
    assert answer.status == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer" and answer.json["error"]["code"] == "no_key"
        assert service.get("/metrics", **headers).status == 401
        assert service.get("/ready", **headers).status == service.get("/docs", **headers).status == 200


def test_what_is_too_large_is_refused_while_it_comes(service: Local) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    connection.request("POST", "/diagnose", iter([b"x" * 1_000_000] * 13), headers, encode_chunked=True)  # no length
    assert connection.getresponse().status == 413
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("POST", "/diagnose", None, headers | {"Content-Length": str(10**12)})
    assert connection.getresponse().status == 413
    fits_the_request = Upload("", bytes(9_000_000))
    assert service.post("/diagnose", fits_the_request).json["error"]["code"] == "picture_too_large"


@pytest.mark.parametrize("upload", [*hostile(1, 45)], ids=lambda upload: upload.what)
def test_hostile_uploads(service: Local, upload: Upload) -> None:
    answer = service.post("/diagnose" if upload.what != "wrong options" else "/restore", upload)
    assert answer.status == 200 or 400 <= answer.status < 500, answer.body[:300]
    if answer.status != 200:
        assert answer.json["error"]["message"] and "Traceback" not in answer.body.decode()


@pytest.mark.slow  # 500 of them take a minute and a half
def test_five_hundred_hostile_uploads_and_nothing_breaks(service: Local) -> None:
    pids = service.workers()
    statuses = [service.post("/diagnose", upload).status for upload in hostile(2, 500)]
    assert all(status == 200 or 400 <= status < 500 for status in statuses)
    assert service.workers() == pids and not service.log("task failed") and not service.log("request failed")


def test_a_client_that_hangs_up_frees_the_worker(service: Local, large: Upload) -> None:
    before = len(service.log("worker free again"))
    with pytest.raises(TimeoutError):
        hang_up(service, large, seconds=2.0)
    deadline = time.monotonic() + 10
    while len(service.log("worker free again")) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert service.log("worker free again")[-1]["seconds"] < 1.0
    assert service.log("request")[-1]["status"] == 499


def hang_up(service: Local, upload: Upload, seconds: float) -> None:
    from rnr.serve.local import encoded as body_of

    body, media = body_of(upload)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=seconds)
    connection.request("POST", "/restore", body, {"Content-Type": media, "X-API-Key": KEY})
    try:
        connection.getresponse()
    finally:
        connection.close()


def test_a_full_service_refuses_at_once_and_serves_whom_it_has_taken(service: Local, photo: Upload) -> None:
    answers: list[Answer] = []
    slow = form(photo, num_inference_steps="6")
    threads = [threading.Thread(target=lambda: answers.append(service.post("/restore", slow))) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200] * 6 + [429] * 3  # two workers and four that wait
    refused = [answer for answer in answers if answer.status == 429]
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
    assert len({answer.json["picture"]["data"] for answer in answers if answer.status == 200}) == 1


def test_a_request_that_does_not_arrive_is_given_up() -> None:
    """A slow upload may hold its place no longer than its time."""
    import asyncio

    from rnr.serve.door import Door
    from rnr.serve.pool import Pool
    from rnr.serve.requests import taken
    from rnr.serve.settings import Keys, Settings
    from rnr.serve.work import Diagnose

    sent: list[dict] = []

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        from fastapi import Request

        await taken(Request(scope, receive), Diagnose, 1e6)

    async def main() -> Pool:
        pool = Pool(Settings(seconds=0.3))
        scope = {
            "type": "http",
            "path": "/diagnose",
            "method": "POST",
            "headers": [(b"content-type", b"application/json")],
        }

        async def trickle() -> dict:
            await asyncio.sleep(0.1)
            return {"type": "http.request", "body": b" ", "more_body": True}

        async def send(message: dict) -> None:
            sent.append(message)

        await asyncio.wait_for(Door(app, pool, Keys())(scope, trickle, send), 10)  # type: ignore[arg-type]
        return pool

    assert asyncio.run(main()).taken == 0
    assert sent[0]["status"] == 408 and json.loads(sent[1]["body"])["error"]["code"] == "too_slow"


def test_metrics_count_what_happened(service: Local, photo: Upload) -> None:
    def value(name: str, **labels: str) -> float:
        families = text_string_to_metric_families(service.get("/metrics").body.decode())
        samples = [s for family in families for s in family.samples if s.name == name]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    before = value("rnr_requests_total", endpoint="/diagnose", status="200")
    service.post("/diagnose", photo)
    service.post("/diagnose", Upload("", b"no picture"))
    assert value("rnr_requests_total", endpoint="/diagnose", status="200") == before + 1
    assert value("rnr_request_seconds_count", endpoint="/diagnose") >= before + 2
    assert value("rnr_workers_wanted") == 2 and value("rnr_requests_in_progress") == 0
    assert value("rnr_worker_resident_bytes") > 2e8
    assert value("rnr_requests_total", endpoint="other") == 0
    for path in ("/x", "/y"):
        assert service.get(path).status == 404
    assert value("rnr_requests_total", endpoint="other", status="404") == 2  # no label for each address that is tried


def test_every_request_is_one_json_line_without_secrets(service: Local, photo: Upload) -> None:
    answer = service.post("/diagnose", replace(photo, name="my holiday.png"))
    mine = answer.headers["x-request-id"]
    for _ in range(50):  # the line is written after the answer has gone
        line = next((line for line in service.log("request") if line["id"] == mine), {})
        if line:
            break
        time.sleep(0.1)
    assert (line["path"], line["status"]) == ("/diagnose", 200)
    assert line["bytes"] > len(photo.data) and re.fullmatch("[0-9a-f]{8}", line["key"])
    text = service.log_text()
    assert KEY not in text and "holiday" not in text
    assert all(json.loads(line)["event"] for line in text.splitlines())


def test_health_and_ready(service: Local) -> None:
    assert service.get("/health").json == {"status": "ok", "version": rnr.__version__}
    assert service.get("/ready").json["workers"]["wanted"] == 2


def test_the_documentation_needs_no_network(service: Local) -> None:
    document = service.get("/openapi.json").json
    assert {"/diagnose", "/restore", "/agent", "/health", "/ready", "/metrics"} <= document["paths"].keys()
    content = document["paths"]["/restore"]["post"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["properties"]["picture"]["format"] == "binary"
    assert {"picture", "num_inference_steps", "only", "diagnosis", "format"} <= content["application/json"]["schema"][
        "properties"
    ].keys()
    assert {"429", "413", "503", "504"} <= document["paths"]["/restore"]["post"]["responses"].keys()
    page = service.get("/docs").body.decode()
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert addresses and all(address.startswith("/static-offline-docs/") for address in addresses)
    assert all(service.get(address).status == 200 for address in addresses)


def test_a_port_in_use_is_said(service: Local) -> None:
    from tests.serve.test_settings import rnr as command

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = command("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2 and "in use" in done.stderr
