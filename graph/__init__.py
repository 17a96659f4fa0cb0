"""The agent, a langgraph workflow: diagnose -> plan -> (approve) -> restore -> diagnose again -> keep or roll back.

    from rnr import graph
    store = graph.Store("pictures")
    agent = graph.build_graph()                          # or build_graph(checkpointer) for threads that survive a kill
    state = agent.invoke({"picture": store.put(pixels_HWC3)}, context=graph.Context(store=store))
    store.get(state["best"]["picture"])

`import rnr.graph` loads neither torch nor langgraph.
"""

from __future__ import annotations

from rnr.degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "rnr.graph.build": ("build_graph",),
        "rnr.graph.checkpoints": ("open_checkpoints",),
        "rnr.graph.context": ("Context",),
        "rnr.graph.events": ("Event",),
        "rnr.graph.threads": ("Run", "run_agent", "run_of"),
        "rnr.graph.state": ("AgentInput", "AgentState", "Answer", "Question", "ThreadError"),
        "rnr.graph.store": ("Store", "StoreError"),
    },
)
