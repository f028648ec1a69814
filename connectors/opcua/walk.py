"""From the Objects folder down to every variable, in bounded requests and bounded time. Knows no OPC UA library.

One bad node costs only what hangs below it; where time or a bound ends the walk, what was found so far stands and the
result says why it ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from connectors.opcua.nodes import Identifier
from mines.errors import LinkLost

Node = tuple[int, Identifier]  # namespace index of today, identifier

OBJECTS_FOLDER: Final[Node] = (0, 85)
BAD_NO_CONTINUATION_POINTS: Final = 0x804B0000
_OWN_NAMESPACE: Final = 0  # of the standard itself: server diagnostics and types, nothing that a mine measures
_GOOD_LIMIT: Final = 0x40000000  # severities above are uncertain and bad
_MOST_PAGES: Final = 10_000  # of one node; a server that never ends is no server


@dataclass(frozen=True, slots=True)
class Child:
    """One forward reference of a node."""

    node: Node
    name: str  # browse name
    display: str
    variable: bool  # else an object
    property: bool = False  # of the parent, e.g. EngineeringUnits


@dataclass(frozen=True, slots=True)
class Page:
    """One answer about one node. `more` is the continuation point, empty where everything was said."""

    status: int
    children: tuple[Child, ...] = ()
    more: bytes = b""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: where it hangs, how it is called, and its properties by name."""

    node: Node
    path: tuple[str, ...]  # browse names from below the Objects folder on, its own last
    display: str
    properties: dict[str, Node] = field(default_factory=dict)


class Browser(Protocol):
    """Asks a server. Both may raise LinkLost; what is wrong with one node is its page's status."""

    async def browse(self, nodes: Sequence[Node]) -> list[Page]:
        """The first page of each node, in their order."""
        ...

    async def browse_next(self, points: Sequence[bytes], *, release: bool = False) -> list[Page]:
        """The next page of each continuation point, or nothing where they are given back."""
        ...


@dataclass(slots=True)
class Walk:
    """What a walk found. `ended` is "" where it saw everything, else why it did not."""

    variables: list[Variable] = field(default_factory=list)
    nodes: int = 0  # browsed
    requests: int = 0
    refused: int = 0  # nodes that the server would not show
    foreign: int = 0  # nodes of the standard's own namespace, left out
    ended: str = ""


async def walk(
    browser: Browser,
    *,
    at_once: int,
    most_nodes: int,
    within_s: float,
    told: Callable[[Walk], None] = lambda _: None,
) -> Walk:
    """Every variable below the Objects folder, breadth first.

    Args:
        browser: Of a session that stands.
        at_once: Nodes in one request.
        most_nodes: After so many nodes it ends.
        within_s: After this time it ends; each request has its own, shorter end.
        told: Called after every request, for a progress bar.
    """
    return await _Walker(browser, at_once, most_nodes, told).walk(within_s)


class _Walker:
    """One walk while it goes on."""

    def __init__(self, browser: Browser, at_once: int, most_nodes: int, told: Callable[[Walk], None]) -> None:
        self._browser, self._at_once, self._most_nodes, self._told = browser, at_once, most_nodes, told
        self._found = Walk()
        self._seen: set[Node] = {OBJECTS_FOLDER}
        self._waiting: deque[tuple[Node, tuple[str, ...], Variable | None]] = deque([(OBJECTS_FOLDER, (), None)])
        self._alone: deque[tuple[Node, tuple[str, ...], Variable | None]] = deque()

    async def walk(self, within_s: float) -> Walk:
        end_s = asyncio.get_running_loop().time() + within_s
        try:
            async with asyncio.timeout_at(end_s):
                while self._waiting or self._alone:
                    if self._found.nodes >= self._most_nodes:
                        self._found.ended = f"more than {self._most_nodes} nodes"
                        break
                    await self._ask()
        except TimeoutError:
            self._found.ended = f"not done within {within_s:g} s"
        except LinkLost as lost:
            self._found.ended = str(lost)
        return self._found

    async def _ask(self) -> None:
        """One request, and what of its answers did not fit into one."""
        alone = not self._waiting
        queue = self._alone if alone else self._waiting
        room = 1 if alone else min(self._at_once, self._most_nodes - self._found.nodes)
        batch = [queue.popleft() for _ in range(min(room, len(queue)))]
        pages = await self._browser.browse([node for node, _, _ in batch])
        self._found.requests += 1
        more: list[tuple[bytes, tuple[str, ...], Variable | None]] = []
        for (node, path, variable), page in zip(batch, pages, strict=True):
            if page.status == BAD_NO_CONTINUATION_POINTS and not alone:
                self._alone.append((node, path, variable))  # later, when the server holds none for others
                continue
            self._found.nodes += 1
            self._take(page, path, variable)
            if page.more:
                more.append((page.more, path, variable))
        self._told(self._found)
        await self._continue(more)

    async def _continue(self, more: list[tuple[bytes, tuple[str, ...], Variable | None]]) -> None:
        pages_seen = 0
        while more:
            answers = await self._browser.browse_next([point for point, _, _ in more])
            self._found.requests += 1
            pages_seen += 1
            still = []
            for (point, path, variable), page in zip(more, answers, strict=True):
                self._take(page, path, variable)
                repeats = page.more == point and not page.children
                if page.more and not repeats and pages_seen < _MOST_PAGES:
                    still.append((page.more, path, variable))
                elif page.more:
                    self._found.refused += 1
                    await self._browser.browse_next([page.more], release=True)
            more = still
            self._told(self._found)

    def _take(self, page: Page, path: tuple[str, ...], parent: Variable | None) -> None:
        if page.status >= _GOOD_LIMIT:
            self._found.refused += 1
        for child in page.children:
            if child.property:
                if parent is not None:
                    parent.properties[child.name] = child.node
            elif child.node[0] == _OWN_NAMESPACE:
                self._found.foreign += 1
            elif child.node not in self._seen:
                self._seen.add(child.node)
                below = (*path, child.name)
                variable = Variable(child.node, below, child.display or child.name) if child.variable else None
                if variable is not None:
                    self._found.variables.append(variable)
                self._waiting.append((child.node, below, variable))
