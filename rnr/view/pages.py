"""The pages: what the templates are given. The server and the export render the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rnr.view.library import Library
from rnr.view.pictures import Pictures
from rnr.view.record_page import RecordPage

HERE = Path(__file__).parent
STATIC = HERE / "static"


class Pages:
    """Renders. `alive` says whether a server can take notes and run again; a static folder cannot."""

    def __init__(self, library: Library, pictures: Pictures, alive: bool) -> None:
        import jinja2

        self.library, self.pictures, self.alive = library, pictures, alive
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters["zip_with"] = zip
        self.templates.globals["figure"] = lambda value: "–" if value is None else f"{value:.4g}"

    def index(self) -> str:
        """The table, of all runs."""
        figures = [
            (number, run.name, place, figure.stem)
            for number, run in enumerate(self.library.runs)
            for place, figure in enumerate(run.source.figures)
        ]
        only_rl = all(run.source.figures for run in self.library.runs)
        return self._render("index.html", "", "table", figures=figures, only_rl=only_rl)

    def compare(self) -> str:
        """Two runs side by side."""
        return self._render("compare.html", "", "compare")

    def picture(self, identity: str) -> str:
        """The page of one picture. Raises KeyError."""
        picture = RecordPage(self.library, self.pictures, identity)
        people = picture.run.notes.of(picture.key)
        return self._render("picture.html", "../", "picture", p=picture, people=people)

    def _render(self, template: str, root: str, script: str, **values: Any) -> str:
        common = {"root": root, "script": script, "alive": self.alive, "library": self.library}
        return self.templates.get_template(template).render(**common, **values)
