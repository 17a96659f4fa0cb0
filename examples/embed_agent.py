"""The agent as a node of somebody else's graph: an album whose pictures are restored in parallel.

    python examples/embed_agent.py STORE PICTURE...

Needs the extra `agent`.
"""

from __future__ import annotations

import operator
import sys
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from rnr import graph


class Album(TypedDict):
    pictures: list[str]
    restored: Annotated[list[str], operator.add]


restorer = graph.build_graph()


class Page(TypedDict):
    picture: str


def restore(page: Page, runtime: Runtime[graph.Context]) -> dict:
    state = restorer.invoke({"picture": page["picture"]}, context=runtime.context)
    if "best" not in state:  # not even the first diagnosis could be made
        return {"restored": [f"{page['picture']}: failed: {state['reason']}"]}
    best = runtime.context.pictures.path(state["best"]["picture"])
    return {"restored": [f"{page['picture']}: {state['reason']}: {best}"]}


def pages(album: Album) -> list[Send]:
    return [Send("restore", {"picture": picture}) for picture in album["pictures"]]


def build():
    builder = StateGraph(Album, context_schema=graph.Context)
    builder.add_node("restore", restore)
    builder.add_conditional_edges(START, pages, ["restore"])
    builder.add_edge("restore", END)
    return builder.compile()


if __name__ == "__main__":
    context = graph.Context(store=sys.argv[1], strategy="one-pass")
    for line in build().invoke({"pictures": sys.argv[2:], "restored": []}, context=context)["restored"]:
        print(line)
