"""From a name to an object: what is wrong with it, and what to do, is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnr.degradation.errors import SetupError
from rnr.degradation.loading import object_at


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")  # so that the path is as it was afterwards
    return tmp_path


def test_an_import_path_finds_what_lies_in_the_working_folder(here: Path) -> None:
    (here / "rewards_of_mine.py").write_text("class Kind:\n    def reward(self): return 3\n")
    assert object_at("rewards_of_mine:Kind.reward")(None) == 3
    with pytest.raises(SetupError, match="rewards_of_mine:other: rewards_of_mine has no other; it has: Kind$"):
        object_at("rewards_of_mine:other")


def test_a_module_that_is_not_there_and_one_that_fails(here: Path) -> None:
    with pytest.raises(SetupError, match="not_there:x: cannot import not_there.*run from the folder that holds it"):
        object_at("not_there:x")
    (here / "broken_of_mine.py").write_text("import no_such_package_at_all\n")
    with pytest.raises(SetupError, match="no_such_package_at_all.*mend that module"):
        object_at("broken_of_mine:x")
