"""The agent, a langgraph workflow: diagnose -> plan -> (approve) -> restore -> diagnose again -> keep or take back.

    import graph
    store = graph.Store("pictures")
    agent = graph.build_graph()                          # or build_graph(checkpointer) for threads that survive a kill
    state = agent.invoke({"picture": store.put(pixels_HWC3)}, context=graph.Context(store=store))
    store.get(state["best"]["picture"])

`import graph` loads neither torch nor langgraph.
"""

from __future__ import annotations

from degradation._lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "graph.build": ("build_graph",),
        "graph.checkpoints": ("open_checkpoints",),
        "graph.context": ("Context",),
        "graph.events": ("Event",),
        "graph.running": ("Run", "run_agent", "run_of"),
        "graph.state": ("AgentInput", "AgentState", "Answer", "Question", "ThreadError"),
        "graph.store": ("Store", "StoreError"),
    },
)
