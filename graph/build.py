"""The workflow:

    diagnose -> plan -> [approve] -> restore (candidates side by side) -> judge -> decide -> plan ... -> finish

`plan` ends the run when there is nothing to do or a budget is used up; `decide` accepts or takes back. Where each node
may go stands in its return type.
"""

from __future__ import annotations

import errno
import sqlite3
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy

from rnr.graph import nodes
from rnr.graph.context import Context
from rnr.graph.state import AgentInput, AgentState

PASSING = {errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENETUNREACH}


def outside(error: Exception) -> bool:
    """Whether it may go away by itself: a network, a busy disk or database; never a bug, a bad picture, a full disk."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return "locked" in str(error) or "busy" in str(error)
    return isinstance(error, OSError) and error.errno in PASSING


def build_graph(checkpointer: Any = None) -> Any:
    """The compiled graph, to invoke, to stream or to use as a node of another graph. Runs take `context=Context(...)`.

    Args:
        checkpointer: Any of langgraph's (`open_checkpoints` opens one). Without it there is no resuming and nobody can
            be asked.

    Returns:
        langgraph's `CompiledStateGraph`; its input is an `AgentInput`, its state an `AgentState`.

    Example:
        >>> from rnr.graph import Context
        >>> agent = build_graph()
        >>> state = agent.invoke({"picture": "photo.jpg"}, context=Context(store="pictures"))
        >>> state["status"]
        'done'
    """
    retry = RetryPolicy(max_attempts=4, initial_interval=0.2, retry_on=outside)
    builder = StateGraph(AgentState, context_schema=Context, input_schema=AgentInput)
    working: tuple[Any, ...] = (nodes.diagnose, nodes.plan, nodes.restore, nodes.judge, nodes.decide)
    give_up: Any = nodes.give_up  # langgraph's types know handlers of one argument only
    for node in working:
        builder.add_node(node.__name__, node, retry_policy=retry, error_handler=give_up)
    builder.add_node("approve", nodes.approve)
    builder.add_node("finish", nodes.finish)
    builder.add_edge(START, "diagnose")
    builder.add_edge("restore", "judge")
    builder.add_edge("finish", END)
    return builder.compile(checkpointer=checkpointer, name="restorer")


def studio_graph() -> Any:
    """For `langgraph.json`: the server brings its own checkpointer."""
    return build_graph()
