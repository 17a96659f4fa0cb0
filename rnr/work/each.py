"""Every picture of some files and folders once, in order, with progress; one that fails does not stop the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rnr.degradation.errors import SetupError
from rnr.degradation.files import printable
from rnr.images.files import MAX_MEGAPIXELS, PictureError, find_pictures
from rnr.images.frames import Frames, Which, read_frames
from rnr.work.console import Meter, problem_of, remark_frames, tell_skipped

Row = TypeVar("Row")


@dataclass(frozen=True)
class Files:
    """What a command is to read.

    Args:
        pictures: Files and folders.
        recursive: Folders below folders, too.
        max_megapixels: Larger pictures are refused.
        skip_unreadable: Files in folders that are no pictures are no errors.
        which: Of a file with several pages or frames all, or the first alone.
        with_traceback: An error says where in the code it came from.
    """

    pictures: Sequence[str]
    recursive: bool = False
    max_megapixels: float = MAX_MEGAPIXELS
    skip_unreadable: bool = False
    which: Which = "all"
    with_traceback: bool = False

    def each(
        self,
        work: Callable[[Path, Frames], list[Row]],
        failed: Callable[[PictureError], Row],
        at_once: Callable[[], int] = lambda: 1,
    ) -> Iterator[Row]:
        """The rows of every file, and one of `failed` for each that has none; errors go to stderr as well.

        Args:
            work: Rows of one file, from its path and what was read.
            failed: The row of a file that failed.
            at_once: Files that are worked on at the same time; asked when there are any, for it may load the model.

        Raises:
            SetupError: What would stop every file.
        """
        skipped: list[Path] = []
        found, problems = find_pictures(self.pictures, self.recursive, skipped)
        problems += tell_skipped(skipped, self.skip_unreadable)

        def rows_of(path: Path) -> list[Row]:
            frames = read_frames(path, self.max_megapixels, self.which)
            remark_frames(path.name, frames.first.note)
            return work(path, frames)

        with Meter(len(found), "loading the model") as meter:
            for path, waiting in _ahead(rows_of, found, at_once() if found else 1):
                meter.tell(printable(path.name))
                try:
                    rows = waiting()
                except SetupError:
                    raise
                except Exception as error:
                    rows = [failed(problem_of(str(path), error, self.with_traceback))]
                meter.done()
                yield from rows
        yield from map(failed, problems)


def _ahead(
    function: Callable[[Path], Any], paths: Sequence[Path], at_once: int
) -> Iterator[tuple[Path, Callable[[], Any]]]:
    """Each path with a call that waits for its result, in order; never more than `at_once` under way."""
    if at_once == 1:  # in this thread: an interrupt then ends the work itself
        yield from ((path, partial(function, path)) for path in paths)
        return
    queue: deque[tuple[Path, Future[Any]]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        for path in paths:
            queue.append((path, pool.submit(function, path)))
            if len(queue) == at_once:
                first, future = queue.popleft()
                yield first, future.result
        yield from ((path, future.result) for path, future in queue)
