"""The agent in other people's hands: the examples, as a subgraph, in langgraph's server."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph

from rnr.graph import Context, Store, build_graph, open_checkpoints
from rnr.graph.state import AgentState

ROOT = Path(__file__).parents[2]


def module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded  # langgraph reads the types of a state there
    spec.loader.exec_module(loaded)
    return loaded


def test_the_example_of_embedding(context: Any, store: Store, noisy: Any, dark: Any) -> None:
    pictures = [str(store.path(ref)) for ref in (noisy, dark)]
    album = module(ROOT / "examples/embed_agent.py").build()
    said = album.invoke({"pictures": pictures, "restored": []}, context=context(strategy="one-pass"))["restored"]
    assert [line.split(": ")[0] for line in said] == pictures
    assert all(Path(line.split(": ")[-1]).is_file() for line in said)


def test_the_example_of_a_tool(context: Any, store: Store, noisy: Any, tmp_path: Path) -> None:
    tool = module(ROOT / "examples/agent_tool.py").restore_tool(context(strategy="one-pass"))
    assert tool.name == "restore_photograph" and set(tool.args) == {"path"} and "damaged" in tool.description
    assert Path(tool.invoke({"path": str(store.path(noisy))}).splitlines()[-1]).is_file()


def test_as_a_subgraph_it_shares_state_and_context(context: Any, noisy: Any) -> None:
    builder = StateGraph(AgentState, context_schema=Context)
    builder.add_node("restorer", build_graph())
    builder.add_edge(START, "restorer")
    builder.add_edge("restorer", END)
    state = builder.compile().invoke({"picture": noisy}, context=context(strategy="one-pass"))
    assert state["status"] == "done" and state["first"]["picture"] == noisy


def test_the_server_finds_the_graph_and_can_give_the_context_as_json(store: Store, noisy: Any) -> None:
    settings = json.loads((ROOT / "langgraph.json").read_text())
    path, _, name = settings["graphs"]["restorer"].partition(":")
    graph = getattr(importlib.import_module(path), name)()
    state = graph.invoke({"picture": noisy}, context={"store": str(store.folder), "seconds": 1e-6})
    assert "seconds is used up" in state["reason"]
    drawn = graph.get_graph().draw_mermaid()
    for edge in ("plan -.-> approve", "plan -.-> finish", "restore --> judge", "decide -.-> plan"):
        assert edge in drawn, drawn


def test_a_broken_path_is_named(context: Any, tmp_path: Path) -> None:
    state = build_graph().invoke({"picture": str(tmp_path / "no.png")}, context=context())
    assert state["status"] == "failed" and "no.png: not a picture that can be read" in state["reason"]


def test_a_missing_extra_names_the_command() -> None:
    from rnr.degradation.errors import MissingExtra

    if importlib.util.find_spec("langgraph.checkpoint.postgres"):
        pytest.skip("it is installed")
    command = r"pip install -e '\.\[postgres\]'"
    with pytest.raises(MissingExtra, match=command), open_checkpoints("postgresql://localhost/threads"):
        pass


def test_studio_can_draw_its_forms() -> None:
    from rnr.graph import build_graph

    agent = build_graph()
    assert {"picture", "order"} <= set(agent.get_input_jsonschema()["properties"])
    assert {"strategy", "max_restorations", "store"} <= set(agent.get_context_jsonschema()["properties"])


def test_a_reasoner_behind_a_server_is_a_judge_like_any_other(
    agent: Any, context: Any, models: Any, dark: Any, tmp_path: Path
) -> None:
    from rnr.graph import run_agent
    from rnr.reasoner.card import BUILT_IN
    from tests.reasoner.chat_server import running

    with running(str(BUILT_IN)) as (url, _):
        there = context(reasoner=url, max_restorations=1)
        run = run_agent(agent, there, "served", dark)
    assert run.status == "done" and len(run.steps) == 1
    assert there.judge_id != context().judge_id, "its diagnoses are kept apart in the store"


def test_a_context_takes_a_recipe_as_the_command_does(tmp_path: Path) -> None:
    from rnr.graph import Context

    (tmp_path / "r.toml").write_text('model = "built-in"\n')
    context = Context(reasoner=str(tmp_path / "r.toml"), restorer=str(tmp_path / "r.toml"))
    assert context.judge.name == "built-in" and context.pipeline.identity["model"] == "restorer built-in"


def test_another_restorer_makes_its_own_number_of_steps(context: Any, fixed: Any) -> None:
    slow = fixed(lambda pixels: pixels)
    slow.steps = 40
    assert [draw["steps"] for draw in context(restorer=slow, candidates=3).draws()] == [40, 40, 40]
    draws = context(restorer=slow, candidates=3).draws()
    assert len({(draw["seed"], draw["eta"]) for draw in draws}) == 3, "no candidate is made twice"
    own = context(candidates=5).draws()
    assert [(draw["steps"], draw["dose"]) for draw in own] == [(1, 100), (1, 70), (1, 40), (4, 100), (4, 100)]
    assert [draw["dose"] for draw in context(candidates=3).draws(70.0)] == [70, 100, 40], "the remembered one"


def test_a_run_without_context_names_the_remedy(noisy: Any) -> None:
    from rnr import Error

    with pytest.raises(Error, match=r"no context; pass one: graph.invoke\(..., context=rnr.graph.Context\(\)\)"):
        build_graph().invoke({"picture": noisy})


def test_the_examples_check_and_say(context: Any, tmp_path: Path) -> None:
    album = module(ROOT / "examples/embed_agent.py").build()
    missing = str(tmp_path / "no.png")
    said = album.invoke({"pictures": [missing], "restored": []}, context=context())["restored"]
    assert len(said) == 1 and "not a picture that can be read" in said[0]
    tool = module(ROOT / "examples/agent_tool.py").restore_tool(context())
    assert "not a picture that can be read" in tool.invoke({"path": missing})


def test_an_interrupt_is_answered_as_the_readme_says(context: Any, noisy: Any) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command

    agent, thread = build_graph(InMemorySaver()), {"configurable": {"thread_id": "one"}}
    asked = agent.invoke({"picture": noisy}, thread, context=context(ask=True, strategy="one-pass"))
    assert asked["__interrupt__"][0].value["proposal"]["kinds"]
    state = agent.invoke(Command(resume={"action": "stop"}), thread, context=context(ask=True))
    assert state["status"] == "stopped"


def test_steps_of_another_dtype_are_not_taken_for_these(context: Any) -> None:
    from rnr.restorer import load

    exact, half = (context(restorer=load("built-in", dtype=dtype)) for dtype in ("float32", "bf16"))
    assert half.restorer_id == f"{exact.restorer_id} bfloat16"
