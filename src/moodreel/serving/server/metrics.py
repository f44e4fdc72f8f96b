"""What the server counts, for Prometheus. Nothing in it tells one person from another."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counters of one server, in a registry of their own.

    Attributes:
        requests: requests by method, route and status.
        request_s: seconds to the answer by route.
        job_s: seconds a worker was busy with a clip, by outcome: `ok` or the problem's kind.
        upload_bytes: bytes of clips received.
        places: clips being uploaded, waiting or read now.
        streams: live streams now.
        windows: windows told to live clients.
        window_latency_s: seconds from the arrival of a window's last media to its answer.
        webhooks: web hooks by outcome: `delivered` or `given up`.
        workers_replaced: workers that crashed, hung, were stopped or had done their share.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "moodreel_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self.request_s = Histogram(
            "moodreel_request_seconds", "Seconds to the answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.job_s = Histogram(
            "moodreel_job_seconds", "Seconds of work on a clip.", ["outcome"], buckets=_SECONDS, registry=registry
        )
        self.upload_bytes = Counter("moodreel_upload_bytes", "Bytes of clips received.", registry=registry)
        self.places = Gauge("moodreel_places_taken", "Clips uploaded, waiting or read now.", registry=registry)
        self.streams = Gauge("moodreel_streams", "Live streams now.", registry=registry)
        self.windows = Counter("moodreel_windows", "Windows told to live clients.", registry=registry)
        self.window_latency_s = Histogram(
            "moodreel_window_latency_seconds", "From the last media to its answer.", buckets=_SECONDS, registry=registry
        )
        self.webhooks = Counter("moodreel_webhooks", "Web hooks called.", ["outcome"], registry=registry)
        self.workers_replaced = Counter("moodreel_workers_replaced", "Workers replaced.", registry=registry)

    def format(self) -> bytes:
        """Return all counters in Prometheus's text format."""
        return generate_latest(self._registry)
