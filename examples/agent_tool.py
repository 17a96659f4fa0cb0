"""The agent as a LangChain tool, for any model that calls tools.

    python examples/agent_tool.py STORE PICTURE

Needs the extra `agent` (langchain-core comes with langgraph).
"""

from __future__ import annotations

import sys

from langchain_core.tools import BaseTool, tool

from rnr import graph


def restore_tool(context: graph.Context) -> BaseTool:
    """A tool over this context. Give a model only paths that it may read: the tool opens any path that it is given."""
    agent = graph.build_graph()

    @tool
    def restore_photograph(path: str) -> str:
        """Find out what damaged a photograph and undo what can be undone. Returns what was done and the path of the
        restored PNG."""
        state = agent.invoke({"picture": path}, context=context)
        if "best" not in state:  # not even the first diagnosis could be made
            return f"failed: {state['reason']}"
        steps = [f"{step['proposal']['kinds']}: {step['decision']}, {step['reason']}" for step in state["steps"]]
        return "\n".join([*steps, state["reason"], str(context.pictures.path(state["best"]["picture"]))])

    return restore_photograph


if __name__ == "__main__":
    print(restore_tool(graph.Context(store=sys.argv[1])).invoke({"path": sys.argv[2]}))
