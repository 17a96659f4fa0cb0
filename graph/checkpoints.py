"""Where threads are kept: a sqlite file by default, or a postgres database (extra `postgres`)."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rnr.degradation._lazy import need

BUSY = 60.0  # seconds to wait for another process
SETUP = 0x726E72  # the advisory lock of postgres under which tables are made


@contextlib.contextmanager
def open_checkpoints(where: str | Path) -> Iterator[Any]:
    """A checkpointer for any number of threads and processes, as a context manager.

    Args:
        where: A path (sqlite; the file is made) or postgresql://…

    Yields:
        langgraph's saver.

    Raises:
        MissingExtra: Names what to install.

    Example:
        >>> from rnr.graph import build_graph
        >>> with open_checkpoints("threads.sqlite") as saver:
        ...     agent = build_graph(saver)
    """
    if str(where).startswith(("postgres://", "postgresql://")):
        saver = need("langgraph.checkpoint.postgres", "postgres").PostgresSaver
        with saver.from_conn_string(str(where)) as postgres:
            _set_up(postgres)
            yield postgres
        return
    module = need("langgraph.checkpoint.sqlite", "agent")
    Path(where).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(where, timeout=BUSY, check_same_thread=False)) as connection:
        # The switch to WAL of two processes at once fails with "database is locked", whatever the timeout.
        with FileLock(f"{where}.setup.lock", timeout=BUSY):
            connection.execute("PRAGMA journal_mode=WAL")
            saver = module.SqliteSaver(connection)
            saver.setup()
        yield saver


@contextlib.contextmanager
def alone(path: Path, busy: Exception) -> Iterator[None]:
    """Hold the lock at `path`; raises `busy` where another does. It is the system's: gone with its process."""
    try:
        held = FileLock(path).acquire(timeout=0)
    except Timeout:
        raise busy from None
    with held:
        yield


def _set_up(postgres: Any) -> None:
    """Make the tables, one process after the other; tried again and again, since a waiting lock would block indices."""
    while not postgres.conn.execute("SELECT pg_try_advisory_lock(%s) AS mine", [SETUP]).fetchone()["mine"]:
        time.sleep(0.05)
    try:
        postgres.setup()
    finally:
        postgres.conn.execute("SELECT pg_advisory_unlock(%s)", [SETUP])


def database_errors() -> tuple[type[Exception], ...]:
    """What the databases in use raise when they cannot be read or written."""
    postgres = sys.modules.get("psycopg")
    return (sqlite3.Error, postgres.Error) if postgres else (sqlite3.Error,)
