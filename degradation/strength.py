"""How far a restoration goes: one number in 0..100, or one for each kind; 0 gives the same picture back.

The command, Python, the service, MCP and the agent mean the same by it: the share of the way that each leg goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnr.degradation.errors import SetupError

Strength = float | Mapping[str, float]
FULL = 100.0


def strength_of(strength: Strength, kind: str) -> float:
    """Of one kind, 0..100; all the way for one that is not named."""
    return float(strength.get(kind, FULL) if isinstance(strength, Mapping) else strength)


def scaled(strength: Strength, factor: float) -> Strength:
    """The same times a factor of 0..1, for every kind."""
    if not isinstance(strength, Mapping):
        return strength * factor
    from rnr.degradation.kind import kinds

    return {kind: factor * strength_of(strength, kind) for kind in kinds()}


def checked(strength: Strength) -> Strength:
    """Itself. Raises SetupError for a number outside 0..100, ValueError for a kind that nobody knows."""
    if isinstance(strength, Mapping):
        from rnr.degradation.kind import kind_named

        list(map(kind_named, strength))
    for value in strength.values() if isinstance(strength, Mapping) else (strength,):
        if not 0 <= value <= FULL:  # also NaN
            raise SetupError(f"a strength lies in 0..100, not {value:g}")
    return strength


def parsed(texts: Sequence[str]) -> Strength:
    """What people write: `60`, or `haze=50` for one kind; both may be given.

    Args:
        texts: Each of them.

    Returns:
        A number, or one for each kind.

    Raises:
        SetupError: For what is no number.

    Example:
        >>> parsed(["60"])
        60.0
    """
    rest, chosen = FULL, dict[str, float]()
    for text in texts:
        kind, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise SetupError(f"strength {text}: give a number in 0..100, or KIND=NUMBER") from None
        if kind:
            chosen[kind] = value
        else:
            rest = value
    if not chosen:
        return rest
    from rnr.degradation.kind import kinds

    return {**dict.fromkeys(kinds(), rest), **chosen}
