"""The tasks themselves, in this process."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rnr.images.files import PictureError
from rnr.serve.hostile import Upload, hostile
from rnr.serve.wire import Message
from rnr.serve.work import Agent, AnyTask, Diagnose, Restore, Shop, refusal
from rnr.work.models import Models
from tests.serve.conftest import as_png

opened: list[str] = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)


@pytest.fixture
def shop(models: Models, tmp_path: Path) -> Shop:
    return Shop(models, megapixels=1.5, seconds=60, scratch=tmp_path)


def ignore(event: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("name", ["/etc/passwd", "../../etc/passwd", "C:\\boot.ini", "a\0b.png", "x" * 255])
def test_nothing_is_opened_by_the_name_of_an_upload(shop: Shop, photo: Upload, name: str) -> None:
    task = Diagnose(name=name)
    opened.clear()
    answer = task.perform(shop, photo.data, ignore)
    assert not [path for path in opened if Path(task.name).name in path or name in path]
    assert "/" not in answer.head["source"]["file"] and "\\" not in answer.head["source"]["file"]


def test_a_picture_that_is_too_large_is_refused_before_a_pixel_is_decoded(shop: Shop, monkeypatch: Any) -> None:
    from PIL import ImageFile

    def decoded(*arguments: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    monkeypatch.setattr("PIL._webp.WebPAnimDecoder", decoded)  # takes the memory of the whole canvas when it opens
    large = [u for u in hostile(0, 200) if u.what in ("claims 3600 megapixels", "decompression bomb")]
    assert len(large) > 20
    for upload in large:
        with pytest.raises(PictureError, match=r"megapixels, more than the 1.5 allowed"):
            shop.opened(upload.data, upload.name)


def test_errors_say_what_the_client_can_do(shop: Shop) -> None:
    with pytest.raises(PictureError) as large:
        shop.opened(as_png(np.zeros((1300, 1300, 3), np.uint8)), "a.png")
    with pytest.raises(PictureError) as broken:
        shop.opened(b"no picture", "a.png")
    cases = [
        large.value,
        broken.value,
        ValueError("num_inference_steps"),
        MemoryError(),
        RuntimeError("CUDA out of memory"),
        KeyError("x"),
    ]
    assert [refusal(error).status for error in cases] == [413, 422, 422, 503, 503, 500]
    assert "'x'" not in str(refusal(KeyError("x")))  # what nobody expected stays in the log


def test_a_form_shows_an_instruction_as_empty_text() -> None:
    """With null in its schema the page of the service fills in an example, which is refused."""
    for task in (Restore, Agent):
        field = task.model_json_schema()["properties"]["instruct"]
        assert (field["type"], field["default"]) == ("string", "") and task().instruct == ""


def test_an_instruction_is_followed_or_refused(shop: Shop, photo: Upload) -> None:
    done = Restore(instruct="just the noise, please").perform(shop, photo.data, ignore)
    assert done.blobs == Restore(only=["noise"]).perform(shop, photo.data, ignore).blobs
    assert done.head["record"]["restoration"]["wish"]["remove"] == ["noise"]
    with pytest.raises(ValueError, match="asks for something else") as refused:
        Restore(instruct="turn it into a cartoon").perform(shop, photo.data, ignore)
    assert refusal(refused.value).status == 422


def test_a_strength_may_be_a_number_one_for_each_kind_or_the_texts_of_a_form(shop: Shop, photo: Upload) -> None:
    def blob(strength: Any) -> bytes:
        return Restore(only=["noise"], strength=strength).perform(shop, photo.data, ignore).blobs[0]

    assert blob(0) == blob({"noise": 0}) == photo.data
    half = blob(50)
    assert half == blob({"noise": 50}) == blob(["noise=50"]) == blob(["50"]) and half not in (blob(100), photo.data)
    for wrong in (101, -1, {"noise": 101}):
        with pytest.raises(ValueError):
            Restore(strength=wrong)  # type: ignore[arg-type]
    for texts in (["101"], ["fog=3"], ["nan"], ["noise=x"]):
        with pytest.raises(ValueError) as refused:
            Restore(strength=texts).perform(shop, photo.data, ignore)
        assert refusal(refused.value).status == 422


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_every_format_that_is_read_is_answered_with_its_media_type(shop: Shop, noisy: np.ndarray, form: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noisy[:64, :64]).save(buffer, form)
    data, nothing = buffer.getvalue(), {"findings": {"noise": {"present": False, "severity": 0}}}
    same = Restore(diagnosis=nothing).perform(shop, data, ignore)
    there = {"findings": {"noise": {"present": True, "severity": 40}}}
    restored = Restore(diagnosis=there).perform(shop, data, ignore)
    for answer, written in ((same, form), (restored, "PNG" if form == "GIF" else form)):
        with Image.open(io.BytesIO(answer.blobs[0])) as image:
            assert image.format == written
        media = {"PPM": "image/x-portable-pixmap"}.get(written, Image.MIME[written])
        assert answer.head["picture"]["media_type"] == media
    assert same.blobs[0] == data


def test_a_task_is_the_same_after_the_wire(tmp_path: Path) -> None:
    from rnr.serve import wire

    task = Restore(name="a/b.png", only=["noise"], diagnosis={"findings": {}})
    packed = Message({"id": 7, "task": task.model_dump()}, [b"picture", b"", bytes(100_000)]).packed()
    message = wire.read(io.BytesIO(packed + b"the next one"))
    assert message and message.head["id"] == 7 and [len(blob) for blob in message.blobs] == [7, 0, 100_000]
    assert AnyTask.validate_python(message.head["task"]) == task and task.name == "b.png"
    assert wire.read(io.BytesIO(packed[:3])) is None
