"""Where threads are kept: a sqlite file by default, or a postgres database (extra `postgres`)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from degradation._lazy import need

BUSY = 60.0  # seconds to wait for another process


@contextlib.contextmanager
def open_checkpoints(where: str | Path) -> Iterator[Any]:
    """A checkpointer at a path or postgresql://…, for any number of threads and processes.

    Raises MissingExtra that names what to install.
    """
    if str(where).startswith(("postgres://", "postgresql://")):
        saver = need("langgraph.checkpoint.postgres", "postgres").PostgresSaver
        with saver.from_conn_string(str(where)) as postgres:
            postgres.setup()
            yield postgres
        return
    module = need("langgraph.checkpoint.sqlite", "agent")
    Path(where).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(where, timeout=BUSY, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        saver = module.SqliteSaver(connection)
        saver.setup()
        yield saver
