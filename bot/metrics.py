"""What the engineer's dashboard shows: counters of this process, read at /metrics."""

from __future__ import annotations

from prometheus_client import Counter

CALLBACKS = Counter(
    "exmail_bot_callbacks_total", "Callbacks by URL and the status they were answered with", ("source", "status")
)
