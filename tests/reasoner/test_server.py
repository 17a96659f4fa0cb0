"""The client against a real server process (a tiny model, vLLM's interface): the same records, and what goes wrong."""

from __future__ import annotations

import json
import math
import shutil
from functools import partial

import pytest
import torch

from rnr import prompts
from rnr.reasoner import client
from rnr.reasoner.card import BUILT_IN, read_card
from rnr.reasoner.chat import ServerError
from rnr.reasoner.client import ServerReasoner, before_present, masked, read_answer, severities
from rnr.reasoner.decode import Session
from rnr.reasoner.drawn import DRAW, view_count
from rnr.reasoner.export import export
from rnr.reasoner.export_vllm import serve_command
from rnr.reasoner.grammar import PRESENT, Choice, severity_opening
from rnr.reasoner.model import new_model, tiny_config
from rnr.reasoner.reasoner import Reasoner, Settings, shown
from rnr.reasoner.severity import belief, summarise
from rnr.reasoner.views import VIEWS
from rnr.reasoner.vllm_engine import defaults
from tests.reasoner.chat_server import running
from tests.reasoner.conftest import SMALL_TEXT, SMALL_VISION, foreign, picture, random_diagnosis

PLAIN = Settings(beliefs=False)


@pytest.mark.parametrize("views", [{}, {"side": 64}, *({name: True, "tones": True} for name in DRAW), VIEWS])
def test_the_limit_of_images_is_the_number_of_views(views):
    card = {"views": views}
    assert view_count(card) == len(shown(picture(3, 96), card))


def test_vllm_is_given_the_limit_of_the_card(folder):
    count = len(Reasoner.from_pretrained(folder).views(picture(3, 96)))
    assert serve_command(folder)[-1] == json.dumps({"image": count})
    assert defaults(folder)["limit_mm_per_prompt"] == {"image": count}
    assert defaults(BUILT_IN)["limit_mm_per_prompt"] == {"image": len(shown(picture(3, 96), read_card(BUILT_IN)))}


def test_the_documented_limit_of_untuned_weights_is_theirs():
    assert f"""--limit-mm-per-prompt '{json.dumps({"image": view_count({})})}'""" in str(client.__doc__)


@pytest.fixture(scope="module")
def folder(tokenizer, processor, tmp_path_factory):
    model = new_model(tiny_config(tokenizer, SMALL_TEXT, SMALL_VISION), seed=1)
    return export(model, processor, tmp_path_factory.mktemp("served") / "weights", prompts.load("diagnose_tuned"))


@pytest.fixture(scope="module")
def url(folder):
    with running(str(folder)) as (address, _):
        yield address


@pytest.fixture(scope="module")
def trained():
    """Weights to which `true` and `false` are likely at all where they are asked for."""
    with running(str(BUILT_IN)) as (address, _):
        yield address


def test_it_writes_the_records_of_one_process(trained, photographs) -> None:
    pictures = [photographs["coffee"][:200, :256]]
    here, there = Reasoner.from_pretrained().diagnose(pictures), ServerReasoner(trained).diagnose(pictures)
    for local, remote in zip(here, there):
        assert remote.error is None and remote.text == local.text and remote.model == "tiny"
        assert (remote.prompt, remote.prompt_version) == (local.prompt, local.prompt_version)
        spans = [(entry.field, entry.start, entry.end) for entry in local.trace]
        assert [(entry.field, entry.start, entry.end) for entry in remote.trace] == spans
        for kind, expected in local.beliefs.items():
            assert remote.beliefs[kind].probability == pytest.approx(expected.probability, abs=1e-4)
            assert remote.expected_severity(kind) == pytest.approx(expected.expected_severity, abs=0.1)


@pytest.fixture(scope="module")
def untuned(tmp_path_factory):
    """(url, folder): the same weights without a card, as a checkpoint that is not ours."""
    folder = tmp_path_factory.mktemp("untuned") / "weights"
    shutil.copytree(BUILT_IN, folder)
    with running(str(foreign(folder))) as (address, _):
        yield address, folder


def test_a_model_that_is_not_ours_answers_under_the_schema(untuned, photographs, monkeypatch) -> None:
    url, folder = untuned
    monkeypatch.setattr("rnr.reasoner.client.TOP", 495)  # all: a small model's words are unlikely here
    crop = photographs["coffee"][:128, :128]
    there = ServerReasoner(url)
    there.kinds = there.kinds[:2]  # each costs a dozen requests
    found = there.diagnose([crop])[0]
    assert found.error is None and found.diagnosis is not None
    assert (found.prompt, found.settings["schema"], found.trace) == ("diagnose_instruct", "open", [])
    assert found.diagnosis.scene.objects == ["a cup"] and found.text == found.diagnosis.to_json()
    here = Reasoner.from_pretrained(folder)
    session, text = Session(here.model, here.inputs(crop)), ""
    encode = partial(here.processor.tokenizer.encode, add_special_tokens=False)
    for kind, finding in found.diagnosis.findings.items():
        assert finding.evidence is not None and finding.evidence.startswith("I see ")
        more = before_present(found.diagnosis, kind).removeprefix(text)
        text += more
        session.feed(encode(more))

        # Among so many tokens those that only begin a word count for it, too (`masked`).
        def tokens(then: str = "") -> dict[str, float]:
            logs = torch.log_softmax(session.logits(tuple(encode(then))), 0).tolist()
            return {here.processor.tokenizer.decode([number]): log for number, log in enumerate(logs)}

        opened = "true" + severity_opening()
        among = masked(tokens(), ("true", "false"))["true"]
        served = summarise(among, severities(lambda digits: tokens(opened + digits)))  # noqa: B023
        assert found.beliefs[kind].probability == pytest.approx(served.probability, abs=1e-3)
        # Digits beyond the TOP likeliest tokens are not served: 0.13 points of a severity, measured.
        assert found.expected_severity(kind) == pytest.approx(served.expected_severity, abs=0.01)
        exact = belief(Choice(f"findings.{kind}.present", PRESENT), session, here.lexicon)
        assert found.beliefs[kind].probability == pytest.approx(exact.probability, abs=0.03)
        # Under a prompt that these weights never saw, tokens that begin a digit take much of its chance: 8 points.
        assert found.expected_severity(kind) == pytest.approx(exact.expected_severity, abs=10)


def test_what_goes_wrong_under_the_schema_is_named(untuned) -> None:
    url, _ = untuned
    pictures, said = [picture(128, 128)], []
    for mood, most in (("", 30), ("free", 4096), ("loose", 4096), ("mute", 4096)):
        there = ServerReasoner(f"{url}/{mood}", most_tokens=most)
        there.kinds = ["haze"]
        said.append(str(there.diagnose(pictures)[0].error))
    assert "cut off after 30 characters; raise most_tokens" in said[0]
    assert "needs structured outputs (a JSON schema" in said[1]
    assert "findings.haze: Value error, severity is 0 if and only if not present" in said[2]
    assert "no log-probabilities" in said[3]


def test_a_busy_server_is_asked_again(url) -> None:
    record = ServerReasoner(f"{url}/flaky").diagnose([picture()], PLAIN)[0]
    assert record.error is None and record.diagnosis is not None


def test_no_server(url) -> None:
    with pytest.raises(ServerError, match="is the server running"):
        ServerReasoner("http://127.0.0.1:9", retries=1)
    with pytest.raises(ServerError, match="serves no 'other'; it serves tiny"):
        ServerReasoner(url, served="other")


def test_without_vllm_in_this_environment_the_remedy_is_named() -> None:
    with pytest.raises(ServerError, match="pip install vllm.*or give a server's URL"):
        ServerReasoner("vllm:served")


def test_a_server_without_structured_outputs_is_named(url, trained) -> None:
    assert "structured outputs" in str(ServerReasoner(f"{url}/free").diagnose([picture()])[0].error)
    assert "log-probabilities" in str(ServerReasoner(f"{trained}/mute").diagnose([picture()])[0].error)


def test_an_answer_that_was_cut_off_is_named(url) -> None:
    assert "raise most_tokens" in str(ServerReasoner(url, most_tokens=20).diagnose([picture()])[0].error)


def test_a_server_killed_within_a_batch_costs_the_rest_only(folder) -> None:
    with running(str(folder)) as (address, process):
        reasoner = ServerReasoner(f"{address}/mortal", retries=1, workers=2)
        records = reasoner.diagnose([picture(seed=seed) for seed in range(5)], PLAIN)
        process.join(10)
    good, lost = [r for r in records if r.error is None], [r.error for r in records if r.error]
    assert len(good) == 2 and all(record.diagnosis for record in good)
    assert len(lost) == 3 and all("is the server running" in error for error in lost)


def test_sampling_goes_by_the_seed(url) -> None:
    reasoner = ServerReasoner(url)
    texts = [reasoner.diagnose([picture()], Settings(3.0, seed, False))[0].text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_what_a_schema_cannot_tie_follows_from_the_rest() -> None:
    true = random_diagnosis(3)
    data = json.loads(true.to_json())
    data["plan"], data["quality"]["words"] = ["haze", "haze"], "excellent"
    assert read_answer(json.dumps(data, indent=2), "stop", list(true.findings)) == true
    with pytest.raises(ServerError, match="does not follow"):
        read_answer('{"findings": {}}', "stop", ["noise"])


def test_the_beginning_of_an_answer() -> None:
    diagnosis = random_diagnosis(4)
    for kind in diagnosis.findings:
        start = before_present(diagnosis, kind)
        assert diagnosis.to_json().startswith(start) and start.endswith('"present":')
        assert start.count('"present":') == list(diagnosis.findings).index(kind) + 1


def test_a_known_distribution_of_severities() -> None:
    logs = {"": {"4": 0.5, "1": 0.5}, "4": {"2": 0.6, ',"': 0.4}, "1": {"0": 1.0}, "10": {"0": 0.25, ",": 0.75}}
    found = severities(lambda digits: {token: math.log(p) for token, p in logs[digits].items()})
    assert {i + 1: round(float(p), 6) for i, p in enumerate(found) if p} == {4: 0.2, 42: 0.3, 10: 0.375, 100: 0.125}
    assert masked({"tr": math.log(0.3), " x": 0.0, "false": math.log(0.1)}, ("true", "false"))["true"] == pytest.approx(
        0.75
    )
    with pytest.raises(ServerError, match="likeliest"):
        masked({"x": 0.0}, ("true", "false"))
