"""Metrics for Prometheus: of the requests, counted where they end, and of the pool, read when somebody asks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rnr.serve.pool import Pool

BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 300)  # seconds


class Metrics:
    """Of one service; a registry of its own, so that two services in a process do not mix."""

    def __init__(self, pool: Pool) -> None:
        self.registry = CollectorRegistry()
        labels = ["endpoint", "status"]
        self.requests = Counter("rnr_requests", "Requests that have ended", labels, registry=self.registry)
        self.seconds = Histogram(
            "rnr_request_seconds", "From first byte to last", ["endpoint"], buckets=BUCKETS, registry=self.registry
        )
        self.received = Counter("rnr_received_bytes", "Of request bodies", registry=self.registry)
        self.registry.register(PoolCollector(pool))

    def ended(self, endpoint: str, status: int, seconds: float, received: int) -> None:
        self.requests.labels(endpoint, str(status)).inc()
        self.seconds.labels(endpoint).observe(seconds)
        self.received.inc(received)

    def page(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)


class PoolCollector(Collector):
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def collect(self) -> Iterator[Metric]:
        pool, tally = self.pool, self.pool.tally
        yield GaugeMetricFamily("rnr_workers_ready", "Processes with their models loaded", len(pool.workers))
        yield GaugeMetricFamily("rnr_workers_wanted", "Of --workers", pool.settings.workers)
        yield GaugeMetricFamily("rnr_requests_in_progress", "Places that are taken", pool.taken)
        yield GaugeMetricFamily("rnr_requests_waiting", "For a worker", pool.waiting)
        yield CounterMetricFamily("rnr_worker_restarts", "Workers that had to be replaced", tally.restarts)
        yield CounterMetricFamily("rnr_cancelled", "Tasks cut off: client gone or time up", tally.cancelled)
        yield CounterMetricFamily("rnr_timed_out", "Requests that were not done in time", tally.timed_out)
        yield CounterMetricFamily(
            "rnr_refused_busy", "Requests refused because all places were taken", tally.refused_busy
        )
        memory = GaugeMetricFamily("rnr_worker_resident_bytes", "Memory of a worker (Linux)", labels=["place"])
        for place, worker in pool.workers.items():
            with contextlib.suppress(OSError):
                memory.add_metric([str(place)], resident_bytes(worker.process.pid))
        yield memory


def resident_bytes(pid: int) -> int:
    """Resident memory of a process. Raises OSError where there is no /proc."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
