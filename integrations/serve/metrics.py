"""Counters and histograms in Prometheus' text format, version 0.0.4.

Written here because the format takes a page; prometheus-client would be another package for it.
"""

import bisect
import threading
from collections import Counter
from collections.abc import Iterable, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Histogram:
    """Observed values by upper bounds, with their sum."""

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count `value` under the first bound that is not below it."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str = "") -> list[str]:
        """The lines of one series; `labels` as they stand between the braces."""
        lines, below, comma = [], 0, "," if labels else ""
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), self.counts, strict=True):
            below += count
            lines.append(f'{name}_bucket{{{labels}{comma}le="{bound}"}} {below}')
        braces = f"{{{labels}}}" if labels else ""
        return [*lines, f"{name}_sum{braces} {_number(self.total)}", f"{name}_count{braces} {below}"]


class Metrics:
    """What `GET /metrics` shows. Threads may write to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._latency: dict[str, Histogram] = {}
        self._batch_texts, self._batch_seconds = Histogram(_TEXTS), Histogram(_SECONDS)
        self._tokens = 0

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer. route: a template such as `/v1/models/{id}`, never what a client wrote."""
        with self._lock:
            self._requests[method, route, status] += 1
            self._latency.setdefault(route, Histogram(_SECONDS)).observe(seconds)

    def embedded(self, texts: int, tokens: int, seconds: float) -> None:
        """Count a batch that went through the model."""
        with self._lock:
            self._batch_texts.observe(texts)
            self._batch_seconds.observe(seconds)
            self._tokens += tokens

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """The whole page. gauges: by name the help text and the value of now."""
        with self._lock:
            answers = [
                f'codequarry_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}'
                for (method, route, status), count in sorted(self._requests.items())
            ]
            latency = [
                line
                for route, histogram in sorted(self._latency.items())
                for line in histogram.lines("codequarry_request_seconds", f'route="{route}"')
            ]
            families = [
                ("codequarry_requests_total", "counter", "Answers by route and status.", answers),
                (
                    "codequarry_request_seconds",
                    "histogram",
                    "Seconds from a request's head to the end of its answer.",
                    latency,
                ),
                (
                    "codequarry_batch_texts",
                    "histogram",
                    "Texts that shared a forward pass.",
                    self._batch_texts.lines("codequarry_batch_texts"),
                ),
                (
                    "codequarry_batch_seconds",
                    "histogram",
                    "Seconds of a forward pass.",
                    self._batch_seconds.lines("codequarry_batch_seconds"),
                ),
                (
                    "codequarry_tokens_total",
                    "counter",
                    "Tokens that the model read, prompts included.",
                    [f"codequarry_tokens_total {self._tokens}"],
                ),
                *(
                    (name, "gauge", words, [f"{name} {_number(value)}"])
                    for name, (words, value) in gauges.items()
                ),
            ]
        lines = []
        for name, kind, words, series in families:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *series]
        return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
