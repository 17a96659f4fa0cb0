"""The accept test, by `judge.change`: the diagnosed severity must fall by a margin, what comes up elsewhere and what is
over-corrected must not outweigh that, and the content must be the same.
"""

from __future__ import annotations

from rnr.graph.state import Look
from rnr.graph.store import Store
from rnr.judge.change import Change, Seen, change
from rnr.judge.content import PASS

# Measured on 144 mixtures of 2-3 kinds, one pass each: a margin of 1 with an allowance for the judge's own error
# (`change.JITTER`, now by kind) loses 2% of the steps that truly help; 3 and no allowance lost 19%, 0.2 dB.
MARGIN = 1.0  # severity points by which the damage that was diagnosed must fall


def total(look: Look, kinds: list[str] | None = None) -> float:
    """Sum of the expected severities, of these kinds or of all."""
    return sum(value for kind, value in look["severity"].items() if kinds is None or kind in kinds)


def changed(store: Store, first: Look, before: Look, after: Look) -> Change:
    """Severity against the best image so far, content and tones against the one that came in: steps must not drift."""
    kinds = list(dict.fromkeys([*first["present"], *before["present"]]))
    original, made = store.get(first["picture"]), store.get(after["picture"])
    return change(Seen(original, before["severity"], kinds), Seen(made, after["severity"], kinds))


def verdict(before: Look, after: Look, found: Change) -> tuple[bool, str]:
    """Whether `after` may replace `before`, and why. Where a person gave the diagnosis, not being worse is enough."""
    if after["picture"]["sha256"] == before["picture"]["sha256"]:
        return False, "the restorer changed nothing"
    if not found.same:
        return False, f"it no longer shows the same: content {found.content:.2f}, at least {PASS:.2f} is asked"
    wanted = 0.0 if before["given"] else MARGIN
    if found.removed < wanted:
        much = f"fell by {found.removed:.1f} only" if found.removed >= 0 else f"rose by {-found.removed:.1f}"
        return False, f"damage {much}, a fall of at least {wanted:.0f} is asked"
    if found.gain < 0 and found.over > found.new:
        return False, f"over-corrected: tones were lost, {found.over:.0f} points, more than damage fell by"
    if found.gain < 0:
        rises = {kind: value - before["severity"].get(kind, value) for kind, value in after["severity"].items()}
        worst = max(rises, key=lambda kind: rises[kind])
        return False, f"{worst.replace('_', ' ')} got worse by {rises[worst]:.0f}, more than the rest fell by"
    return True, f"damage fell by {found.removed:.0f}, from {found.before:.0f} to {found.before - found.removed:.0f}"
