"""Inside other people's programs: what they have as pictures, their threads, event loops, processes and settings."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import rnr
from rnr.degradation import Diagnosis, Finding
from rnr.images.inputs import picture_of, several
from rnr.work.models import shared_models
from rnr.work.request import Request
from rnr.work.restoring import restore_picture

GIVEN = Diagnosis(findings={"noise": Finding(present=True, severity=30)}, plan=["noise"])
Jobs = list[tuple[int, int, int]]  # picture, steps, seed


def test_all_that_may_be_a_picture(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    tensor = torch.from_numpy(photo)
    chw = tensor.movedim(-1, 0)
    with (tmp_path / "a.png").open("rb") as file:
        for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), file, tensor, chw, chw[None]):
            np.testing.assert_array_equal(picture_of(source).pixels_HWC3, photo)
    for floats in (photo / 255, (photo / 255).astype(np.float32), chw.float() / 255, (chw.double() / 255)[None]):
        np.testing.assert_array_equal(picture_of(floats).pixels_HWC3, photo.astype(np.uint16) * 257)
    half = picture_of(chw.to(torch.bfloat16) / 255).pixels_HWC3.astype(int)
    assert np.abs(half - photo.astype(int) * 257).max() < 65535 / 128
    assert picture_of(tensor[..., :1]).mode == "L" and picture_of(chw[:1]).mode == "L"
    with pytest.raises(TypeError, match="opened for bytes"):
        picture_of(io.StringIO("text"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({(0, 0, 0): np.nan}, "1 value of 28800 are NaN or infinite"),
        ({(0, 0, 0): np.nan, (1, 1, 1): np.inf, (2, 2, 2): -np.inf}, "3 values of 28800 are NaN or infinite"),
        ({(0, 0, 0): 255.0, (0, 0, 1): -3.0}, r"2 values of 28800 lie outside 0..1 \(-3..255\)"),
    ],
)
def test_what_is_no_number_is_refused_with_its_count(photo: np.ndarray, change: dict, words: str) -> None:
    floats = photo / 255
    for place, value in change.items():
        floats[place] = value
    for source in (floats, torch.from_numpy(floats)):
        with pytest.raises(rnr.PictureError, match=words):
            rnr.restore(source, GIVEN)


def test_a_list_and_a_batch_are_their_pictures(photo: np.ndarray) -> None:
    assert several(photo) is None and several("a.png") is None and several(torch.from_numpy(photo)) is None
    assert len(several(np.stack([photo, photo])) or []) == 2 and several((1, 2)) == [1, 2] and several([]) == []
    batch = torch.from_numpy(np.stack([photo, photo[::-1]])).movedim(-1, 1)
    found = several(batch)
    assert found and np.array_equal(picture_of(found[1]).pixels_HWC3, photo[::-1])


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    small = np.linspace(60, 200, 64)[:, None, None] + np.zeros((64, 64, 3))
    return [np.clip(small + rng.normal(0, 20, small.shape), 0, 255).astype(np.uint8) for _ in range(3)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def restored(pictures: list[np.ndarray], job: tuple[int, int, int]) -> np.ndarray:
    number, steps, seed = job
    return rnr.restore(pictures[number], GIVEN, num_inference_steps=steps, seed=seed, device="cpu").pixels_HWC3


def agree(pictures: list[np.ndarray], jobs: Jobs) -> None:
    """8 threads on one pipeline give what single calls give, bit for bit."""
    models = shared_models("built-in", "built-in", "cpu")
    models.load()

    def work(job: tuple[int, int, int]) -> np.ndarray:
        number, steps, seed = job
        pixels = (pictures[number] / 255).astype(np.float32)
        return models.pipeline.restore(pixels, GIVEN, num_inference_steps=steps, seed=seed, eta=seed % 2).pixels_HWC3

    single = {job: work(job) for job in dict.fromkeys(jobs)}
    with ThreadPoolExecutor(8) as pool:
        for job, pixels in zip(jobs, pool.map(work, jobs)):
            np.testing.assert_array_equal(pixels, single[job])


def test_threads_with_different_steps_and_seeds_share_a_pipeline(pictures: list[np.ndarray]) -> None:
    agree(pictures, [(number % 3, 1 + number % 4, number % 5) for number in range(24)])


@pytest.mark.slow  # 400 restorations
def test_eight_threads_of_fifty_restorations(pictures: list[np.ndarray]) -> None:
    agree(pictures, [(number % 3, 1 + number % 7, number % 11) for number in range(400)])


def test_stages_name_the_leg_and_count_its_steps(pictures: list[np.ndarray]) -> None:
    kinds, reported = ["noise", "haze"], list[str]()
    given = Diagnosis(findings={kind: Finding(present=True, severity=30) for kind in kinds}, plan=kinds)
    models = shared_models("built-in", "built-in", "cpu")
    restore_picture(models, picture_of(pictures[0]), Request(2, 0, (), given), "x", reported.append)
    steps = [f"restoring {kind}, step {step} of 2" for kind in kinds for step in (1, 2)]
    assert reported == ["diagnosing", "restoring", *steps, "diagnosing again"]


def test_a_strength_of_0_is_the_same_picture_and_half_is_between(pictures: list[np.ndarray]) -> None:
    none, half, full = (rnr.restore(pictures[0], GIVEN, strength=s, device="cpu").pixels_HWC3 for s in (0, 50, 100))
    np.testing.assert_array_equal(none, pictures[0])
    named = rnr.restore(pictures[0], GIVEN, strength={"noise": 50}, device="cpu").pixels_HWC3
    np.testing.assert_array_equal(named, half)
    mean = (pictures[0].astype(int) + full) / 2
    assert np.abs(half - mean).max() <= 1 and np.abs(half.astype(int) - full).max() > 5
    for bad in (101, -1, float("nan"), {"fog": 3}, {"noise": 101}):
        with pytest.raises(rnr.SetupError):
            rnr.restore(pictures[0], GIVEN, strength=bad)


def test_calls_lists_threads_and_event_loops_agree(pictures: list[np.ndarray]) -> None:
    pictures = pictures[:2]
    single = [rnr.restore(picture, device="cpu") for picture in pictures]
    listed = rnr.restore(pictures, device="cpu")
    with ThreadPoolExecutor(3) as pool:
        threaded = list(pool.map(lambda picture: rnr.restore(picture, device="cpu"), pictures))

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(asyncio.to_thread(rnr.restore, picture, device="cpu") for picture in pictures))

    for results in (listed, threaded, asyncio.run(all_at_once())):
        for one, other in zip(single, results, strict=True):
            np.testing.assert_array_equal(one.pixels_HWC3, other.pixels_HWC3)
            assert one.records[0].beliefs == other.records[0].beliefs
    batch: Any = rnr.diagnose(np.stack(pictures), device="cpu")
    assert [each.text for each in batch] == [each.records[0].text for each in single]
    with pytest.raises(rnr.SetupError, match="2 pictures need as many diagnoses, not 1"):
        rnr.restore(pictures, [GIVEN])
    assert rnr.restore(pictures[:1], force=True, device="cpu")[0].settings["intent"]["force"]


def test_a_fastapi_handler_restores_what_it_is_sent(pictures: list[np.ndarray]) -> None:
    fastapi = pytest.importorskip("fastapi", reason="the extra serve is not installed")
    httpx = pytest.importorskip("httpx", reason="httpx, which asks the handler, is not installed")
    app = fastapi.FastAPI()

    def in_a_thread(data: bytes = fastapi.Body()) -> Any:
        return answer(rnr.restore(data, device="cpu"))

    async def in_the_loop(data: bytes = fastapi.Body()) -> Any:
        return answer(await asyncio.to_thread(rnr.restore, data, device="cpu"))

    def answer(result: Any) -> Any:
        buffer = io.BytesIO()
        result.image.save(buffer, "PNG")
        return fastapi.Response(buffer.getvalue(), media_type="image/png")

    app.post("/thread", response_model=None)(in_a_thread)
    app.post("/loop", response_model=None)(in_the_loop)

    async def all_at_once() -> list[bytes]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here", timeout=300) as client:
            kind = {"Content-Type": "application/octet-stream"}
            asked = [client.post(path, content=body, headers=kind) for path in ("/thread", "/loop") for body in bodies]
            return [reply.content for reply in await asyncio.gather(*asked)]

    bodies = []
    for picture in pictures[:2]:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        bodies.append(buffer.getvalue())
    expected = [rnr.restore(picture, device="cpu").pixels_HWC3 for picture in pictures[:2]]
    for pixels, body in zip(expected * 2, asyncio.run(all_at_once()), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), pixels)


def test_the_hosts_default_type_and_seeds_stay_as_they_are(pictures: list[np.ndarray]) -> None:
    expected = rnr.restore(pictures[0], seed=1, device="cpu")
    torch.manual_seed(5)
    np.random.seed(5)
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    torch.set_default_dtype(torch.float64)
    try:
        found = rnr.restore(pictures[0], seed=1, device="cpu")
        every = Diagnosis(findings={k: Finding(present=True, severity=30) for k in ("noise", "haze", "blur", "rain")})
        assert rnr.restore(pictures[0], every, num_inference_steps=2, device="cpu").pixels_HWC3.dtype == np.uint8
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.records[0].text == expected.records[0].text and found.records[0].error is None
    assert np.abs(found.pixels_HWC3.astype(int) - expected.pixels_HWC3).max() <= 1
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numbers, np.random.get_state()[1])  # type: ignore[index]


def in_a_process(pictures: list[np.ndarray], queue: Any) -> None:
    torch.set_num_threads(1)
    queue.put(restored(pictures, (0, 2, 1)))


@pytest.mark.slow  # a process that loads torch anew
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_give_the_same(pictures: list[np.ndarray], method: str) -> None:
    expected = restored(pictures, (0, 2, 1))
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=in_a_process, args=(pictures, queue))  # type: ignore[attr-defined]
    process.start()
    np.testing.assert_array_equal(queue.get(timeout=300), expected)
    process.join(60)
    assert process.exitcode == 0
