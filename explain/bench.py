"""`rnr bench faithfulness`: all tests on one pair of models, cheap ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnr.explain.attribution import attribution_figures
from rnr.explain.cases import SIDE, Rule, draw_cases
from rnr.explain.ceiling import ceiling
from rnr.explain.dial import mediated
from rnr.explain.figures import Figure
from rnr.explain.pixelwise import cross_talk, derived, dose, erasure, ladder, mediation
from rnr.explain.subject import subject_of
from rnr.explain.textual import TESTS, Read, separation, validity

if TYPE_CHECKING:
    import numpy as np

PIXELWISE = ("derived", "mediation", "dose", "cross-talk", "ladder", "erasure")
ALL = ("validity", *TESTS, *PIXELWISE, "ceiling", "attribution")
Progress = Callable[[str, int], Any]  # a context manager that gives report(done)


@dataclass
class Bench:
    """One run of the tests.

    Attributes:
        reasoner: In this process.
        restorer: Anything with `RestorePipeline.restore` and `kinds`.
        photographs: Clean, uint8 (H, W, 3), by name.
        count: Minimal pairs.
        seed: Of everything that is drawn.
        progress: progress(what, total) as a context manager.
        side: Of the crops, px.
        dials: Minimal pairs on which the tests themselves are tested.

    Example:
        >>> import contextlib, rnr.reasoner, rnr.restorer
        >>> import numpy as np
        >>> from PIL import Image
        >>> photographs = {"photo": np.asarray(Image.open("photo.jpg"))}
        >>> quiet = lambda what, total: contextlib.nullcontext(lambda done: None)
        >>> bench = Bench(rnr.reasoner.load(), rnr.restorer.load(), photographs, 1, 0, quiet)
        >>> len(bench.cases)  # `bench.figures()` runs the tests on them
        1
    """

    reasoner: Any
    restorer: Any
    photographs: Mapping[str, np.ndarray]
    count: int
    seed: int
    progress: Progress
    side: int = SIDE
    dials: int = 48
    _made: dict[str, Any] = field(default_factory=dict)

    def figures(self, names: Sequence[str] = ALL) -> list[Figure]:
        """The figures of these tests, in the order of `ALL`."""
        return [figure for name in ALL if name in names for figure in self.test(name)]

    def test(self, name: str) -> list[Figure]:
        """One test by its name."""
        if name in TESTS:
            read = self._read()
            with self.progress(name, len(self.cases)) as read.report:
                return TESTS[name](read)[0]
        return getattr(self, name.replace("-", "_"))()

    @property
    def cases(self) -> Any:
        """Minimal pairs of the reasoner's kinds."""
        pictures = list(self.photographs.values())
        return self._once("cases", lambda: draw_cases(pictures, self.count, self.reasoner.kinds, self.seed, self.side))

    @property
    def rule(self) -> Rule:
        """What follows from evidence."""
        return self._once("rule", lambda: Rule(list(self.photographs.values()), self.reasoner.kinds, self.seed))

    @property
    def records(self) -> Any:
        """The reasoner's records of all cases."""
        return self._once("records", lambda: self.reasoner.diagnose([case.picture for case in self.cases]))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _read(self) -> Read:
        return self._once("read", lambda: Read(subject_of(self.reasoner), self.cases, self.rule))

    def validity(self) -> list[Figure]:
        """Test 1: of every test above, and of mediation by restorers that read the diagnosis or do not."""
        cases = draw_cases(list(self.photographs.values()), self.dials, self.reasoner.kinds, self.seed + 1, self.side)
        with self.progress("validity", 1):
            found = validity(cases, list(TESTS), self.seed)
        read, ignored = ([mediated(case, dial) for case in cases] for dial in (0.0, 1.0))
        return [*found, separation("probe of mediation", read, ignored, self.seed)]

    def derived(self) -> list[Figure]:
        """Test 2 in our own code."""
        return derived(self.restorer, self.cases, self.records, self.reasoner)

    def mediation(self) -> list[Figure]:
        """Test 8."""
        with self.progress("mediation", len(self.cases)) as report:
            say = lambda picture: self.reasoner.diagnose([picture])[0]  # noqa: E731
            return mediation(self.restorer, self.cases, say, report)[0]

    def dose(self) -> list[Figure]:
        """Test 9."""
        names = [name for name in self.reasoner.kinds if name in self.restorer.kinds]
        clean = [case.clean for case in self.cases[: max(2, self.count // len(names))]]
        with self.progress("dose", len(clean) * len(names)) as report:
            return dose(self.restorer, clean, names, self.seed, report)

    def cross_talk(self) -> list[Figure]:
        """Test 9, off the diagonal."""
        from rnr.evaluation.steering import measure, pairs

        few = dict(list(self.photographs.items())[: max(1, self.count // 8)])
        with self.progress("cross-talk", len(few) * len(pairs(self.restorer.kinds))) as report:
            return cross_talk(measure(self.restorer, few, self.side, self.seed, report=report))

    def ladder(self) -> list[Figure]:
        """Test 10."""
        with self.progress("ladder", len(self.cases)) as report:
            return ladder(self.restorer, self.cases, self.records, self.seed, report)

    def erasure(self) -> list[Figure]:
        """Test 10, by field."""
        with self.progress("erasure", len(self.cases)) as report:
            return erasure(self.restorer, self.cases, report)

    def ceiling(self) -> list[Figure]:
        """The linear-probe ceiling, on four times as many crops as there are cases: probes have many weights."""
        more = draw_cases(
            list(self.photographs.values()), 4 * self.count, self.reasoner.kinds, self.seed + 2, self.side
        )
        with self.progress("ceiling", len(more)) as report:
            pictures, truths = [case.picture for case in more], [case.truth for case in more]
            return ceiling(self.reasoner, pictures, truths, self.seed, report)

    def attribution(self) -> list[Figure]:
        """Maps of attribution against the map that synthesis knows."""
        with self.progress("attribution", len(self.cases)) as report:
            return attribution_figures(self.reasoner, self.restorer, self.cases, self.seed, report)
