"""What a request can end with instead of its answer."""

from __future__ import annotations

import math

from rnr.degradation.errors import Error


class ServiceError(Error):
    """A request that gets no answer: an HTTP status, a code for programs, words for people.

    Attributes:
        status: HTTP status, 4xx for what the client can mend, 5xx for what it cannot.
        code: does not change between releases.
        retry_after: seconds after which another try is worth it; None: it would end the same.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(status, code, message, retry_after)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after

    def __str__(self) -> str:
        return self.message


def busy(seconds: float) -> ServiceError:
    after = min(60, max(1, math.ceil(seconds)))
    return ServiceError(429, "busy", f"all places are taken; try again in {after} s", after)


def timed_out(seconds: float) -> ServiceError:
    return ServiceError(504, "timed_out", f"not done within {seconds:g} seconds; send a smaller picture or fewer steps")


def hung_up() -> ServiceError:
    return ServiceError(499, "hung_up", "the client has gone")  # nginx's number; only the log sees it


def worker_lost() -> ServiceError:
    return ServiceError(503, "worker_lost", "the process that worked on it ended; send it again", 1)
