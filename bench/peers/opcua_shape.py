"""Shape D: 10,000 doubles that a node-opcua server rewrites once a second, each client on a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from peers.children import BENCH, Child, Core, PeerFailed, python
from peers.install import node_opcua
from peers.rig import Bench, Measured
from peers.sites import write_opcua_site

POINTS = 10_000
# Until everything is subscribed and the first values of all have come.
_WARM_S = {"ours": 6.0, "node": 5.0, "subscribe": 8.0, "sized": 8.0, "poll": 3.0}


def shape_d(bench: Bench) -> None:
    """Everybody in turn, in the next round in the opposite order."""
    ways: list[tuple[str, Callable[[], Measured]]] = [
        ("D ours", lambda: _ours(bench)),
        ("D asyncua subscription", lambda: _asyncua(bench, "subscribe")),
        ("D asyncua subscription, sized", lambda: _asyncua(bench, "sized")),
        ("D asyncua polling", lambda: _asyncua(bench, "poll")),
        ("D node-opcua", lambda: _node(bench)),
    ]
    for number in range(bench.pace.opcua_rounds):
        for row, once in ways if number % 2 == 0 else reversed(ways):
            bench.measure(row, once)


@contextmanager
def _serving(bench: Bench) -> Iterator[str]:
    """A server and its address."""
    folder = bench.new("opcua-server")
    folder.mkdir()
    command = ["node", BENCH / "peers" / "opcua_server.js", str(POINTS), folder]
    with Child(command, bench.new("opcua-server.log"), env=_env(), grace_s=3, core=Core.SERVER) as child:
        yield str(child.result(60)["url"])


def _ours(bench: Bench) -> Measured:
    with _serving(bench) as url:
        site = write_opcua_site(bench.new("site"), url, POINTS)
        found = _told(bench, python("client_ours", "opcua", site, _WARM_S["ours"], bench.pace.opcua_window_s, POINTS))
    found.pop("parts_pct")
    if found.pop("defects"):
        raise PeerFailed("a source had a defect")
    return found


def _asyncua(bench: Bench, way: str) -> Measured:
    with _serving(bench) as url:
        return _told(bench, python("client_asyncua", way, url, POINTS, _WARM_S[way], bench.pace.opcua_window_s))


def _node(bench: Bench) -> Measured:
    script = BENCH / "peers" / "opcua_client.js"
    with _serving(bench) as url:
        times = [str(_WARM_S["node"]), str(bench.pace.opcua_window_s)]
        return _told(bench, ["node", script, url, str(POINTS), *times, bench.new("opcua-client")])


def _told(bench: Bench, command: list[str | Path] | list[str]) -> Measured:
    with Child(command, bench.new("opcua-client.log"), env=_env(), core=Core.CLIENT) as child:
        return child.result(90)


def _env() -> dict[str, str]:
    return {"NODE_PATH": str(node_opcua())}
