"""What is known of the link to one OPC UA server: state, last answer, last error, counters. Pure."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from connectors.opcua.decode import Heard
from connectors.opcua.expiry import ChannelFacts
from mines.model import LinkReport, LinkState

REPORT_EVERY_S: Final = 10.0


class LinkBook:
    """Kept by the connection and by the stream; `waiting` holds the reports of changes that nobody has yielded yet."""

    def __init__(self, source: str, endpoint: str, time_ms: int) -> None:
        self._source, self._endpoint = source, endpoint
        self.state = LinkState.CONNECTING
        self._since_ms = time_ms
        self._last_error = ""
        self._sessions = 0
        self.heard: Heard | None = None  # the last word of the server, whatever it was
        self.duration_ms: float | None = None
        self.told: tuple[int, Heard] | None = None  # what the server's clock said [ms UTC], and when that was heard
        self.facts = ChannelFacts()
        self.good = self.bad = 0
        self.counts: Counter[str] = Counter(publishes=0, heartbeats=0)
        self.waiting: deque[LinkReport] = deque([self.report(time_ms)])

    def begun(self, *, whole: bool, time_ms: int) -> None:
        """A session stands; `whole` = every point could be subscribed to."""
        self._sessions += 1
        self._change(LinkState.GOOD if whole else LinkState.DEGRADED, "", time_ms)

    def lost(self, error: str, time_ms: int) -> None:
        """The session, or an attempt at one, ended with an error."""
        self._change(LinkState.LOST, error, time_ms)

    def mended(self, *, whole: bool, time_ms: int) -> None:
        """Within a session, more or fewer of the points can be had than before."""
        self._change(LinkState.GOOD if whole else LinkState.DEGRADED, "", time_ms)

    def _change(self, state: LinkState, error: str, time_ms: int) -> None:
        if (state, error) == (self.state, self._last_error):
            return
        if state != self.state:
            self._since_ms = time_ms
        self.state, self._last_error = state, error
        self.waiting.append(self.report(time_ms))

    def report(self, time_ms: int) -> LinkReport:
        """How the link is doing now. `polls` counts polls or publish answers, and heartbeats.

        `last_answer_ms` is the moment of `device_time_ms` where the server told its time: that of the last heartbeat.
        A link that works has a word too where its papers end soon.
        """
        heard = self.told[1] if self.told is not None else self.heard
        works = self.state in (LinkState.GOOD, LinkState.DEGRADED)
        return LinkReport(
            source=self._source,
            unit=None,
            state=self.state,
            since_ms=self._since_ms,
            last_answer_ms=heard.wall_ms if heard else None,
            last_error=self._last_error or (self.facts.notice(time_ms) if works else ""),
            duration_ms=self.duration_ms,
            polls=self.counts["publishes"] + self.counts["polls"] + self.counts["heartbeats"],
            good=self.good,
            bad=self.bad,
            reconnects=max(self._sessions - 1, 0),
            endpoint=self._endpoint,
            time_ms=time_ms,
            counters=dict(self.counts) | self.facts.counters(time_ms),
            device_time_ms=self.told[0] if self.told is not None else None,
        )
