"""`probe opcua` against real servers: what they offer, who they are, and their variables as a draft of points.csv."""

import asyncio
import contextlib
import csv
import json
from collections import defaultdict
from datetime import UTC, datetime
from functools import cache

import node_opcua
import pytest
from asyncua import ua
from opcua_mine import MINE_URI, new_name, the_mine
from opcua_proxy import Proxy
from typer.testing import CliRunner

import minewatch
from connectors.opcua.certificates import make_certificate, make_key
from connectors.opcua.endpoints import Endpoint, certificate_facts
from connectors.opcua.point_draft import Attributes, address_text, draft_points, unit_code
from connectors.opcua.probe import Bounds, OpcUaProbe, probe_opcua
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.walk import BAD_NO_CONTINUATION_POINTS, Child, Page, Variable, walk
from mines.clock import SystemClock
from mines.errors import LinkLost
from mines.model import Subsystem
from mines.site.site_file import read_site

READ_SIDE = {
    "GetEndpoints", "OpenSecureChannel", "CloseSecureChannel", "CreateSession", "ActivateSession", "CloseSession",
    "Browse", "BrowseNext", "Read",
}  # fmt: skip
CONTRACT = {
    "address", "endpoints", "server", "namespaces", "limits", "history", "browse", "points", "left_out",
    "unknown_units", "requests", "trouble", "out",
}  # fmt: skip
NOW_MS = 1_795_600_000_000


def probed(url: str, **bounds) -> OpcUaProbe:
    async def story() -> OpcUaProbe:
        async with asyncio.timeout(30):
            return await probe_opcua(OpcUaSettings(url, timeout_s=2.0), SystemClock(), Bounds(**bounds))

    return asyncio.run(story())


@cache
def furnished() -> str:
    """A folder with a variable of every sort on the server that all tests share; its name."""
    mine, folder = the_mine(), new_name()

    async def added() -> None:
        index = await mine._server.get_namespace_index(MINE_URI)
        below = await mine._server.nodes.objects.add_folder(ua.NodeId(folder, index), ua.QualifiedName(folder, index))

        async def variable(name: str, value: object, type: ua.VariantType | None = None):
            return await below.add_variable(ua.NodeId(f"{folder}.{name}", index), f"{index}:{name}", value, type)

        gas = await variable("CH4 face", 0.5, ua.VariantType.Float)
        await gas.add_property(
            index, "EngineeringUnits", ua.EUInformation(DisplayName=ua.LocalizedText("kPa"), UnitId=1)
        )
        await gas.add_property(index, "EURange", ua.Range(Low=0.0, High=4.0))
        await (await variable("flow", 1.0)).add_property(
            index, "EngineeringUnits", ua.EUInformation(DisplayName=ua.LocalizedText("furlong"), UnitId=2)
        )
        mode = await variable("mode", 1, ua.VariantType.Int32)
        await mode.add_property(index, "EnumStrings", [ua.LocalizedText("停"), ua.LocalizedText("开")])
        await variable("running", True)
        await variable("name", "fan 1")
        await variable("curve", [1.0, 2.0])
        history = await variable("kept", 1.0)
        await history.write_attribute(ua.AttributeIds.AccessLevel, ua.DataValue(ua.Variant(5, ua.VariantType.Byte)))
        slow = await variable("slow", 1.0)
        slowly = ua.DataValue(ua.Variant(2500.0, ua.VariantType.Double))
        await slow.write_attribute(ua.AttributeIds.MinimumSamplingInterval, slowly)

    mine.run(added())
    return folder


def test_every_sort_of_variable_becomes_the_row_that_it_should():
    folder = furnished()
    found = probed(the_mine().url)
    assert found.trouble == []
    assert found.history is not True
    draft = found.draft("fan", Subsystem.VENTILATION)
    rows = {row["name_en"].rpartition(" / ")[2]: row for row in draft.rows if row["name_en"].startswith(folder)}
    assert set(rows) == {"CH4 face", "flow", "mode", "running", "kept", "slow"}
    gas = rows["CH4 face"]
    assert (gas["kind"], gas["data_type"], gas["unit"]) == ("analog", "float32", "kPa")
    assert (gas["range_low"], gas["range_high"]) == ("0", "4")
    assert gas["address"] == f"nsu={MINE_URI};s={folder}.CH4 face"
    assert gas["id"] == f"fan.{folder}.ch4_face"
    assert (rows["flow"]["unit"], draft.unknown_units["furlong"]) == ("", 1)
    assert (rows["mode"]["kind"], rows["mode"]["states"]) == ("multistate", "0:停|1:开")
    assert (rows["running"]["kind"], rows["running"]["data_type"]) == ("switch", "bool")
    assert (rows["slow"]["period_s"], rows["flow"]["period_s"]) == ("3", "1")
    assert draft.left_out["no number"] >= 1
    assert draft.left_out["array"] >= 1
    assert [v.path[-1] for v, a in found.variables if a.history and v.path[0] == folder] == ["kept"]


def test_on_the_command_line_the_json_is_that_of_the_contract_the_draft_is_a_site_and_only_reads_leave(tmp_path):
    furnished()
    out = tmp_path / "draft"

    async def story():
        async with Proxy(the_mine().port) as proxy:
            arguments = ["probe", "opcua", f"opc.tcp://localhost:{proxy.port}/mine", "--out", str(out)]
            options = ["--source", "fan", "--subsystem", "ventilation", "--yes", "--json"]
            done = await asyncio.to_thread(CliRunner().invoke, minewatch.app, arguments + options)
            return done, list(proxy.requests)

    done, requests = asyncio.run(story())
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document) == CONTRACT
    (endpoint,) = document["endpoints"]
    assert (endpoint["policy"], endpoint["mode"], endpoint["certificate"]) == ("none", "None", None)
    assert "anonymous" in endpoint["users"]
    assert document["namespaces"][0] == "http://opcfoundation.org/UA/"
    assert document["server"]["state"] == "running"
    assert set(requests) <= READ_SIDE
    assert {"Browse", "Read", "CloseSession"} <= set(requests)
    with (out / "points.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == document["points"] > 0
    (out / "site.toml").write_text(
        'schema = 1\n[mine]\nid = "m"\nname_zh = "某矿"\n[subsystem.ventilation]\n'
        '[source.fan]\nkind = "opcua"\nurl = "opc.tcp://192.0.2.1"\n',
        encoding="utf-8",
    )
    assert read_site(out, None).errors == ()


def test_a_person_reads_it_in_chinese_and_english():
    done = CliRunner().invoke(minewatch.app, ["probe", "opcua", the_mine().url, "--no-browse", "--yes"])
    assert done.exit_code == 0, done.output
    assert all(text in done.stdout for text in ("安全策略", "命名空间 namespace 0", "历史数据 history"))


@pytest.mark.parametrize(
    ("url", "code"), [("http://x", 2), ("opc.tcp://127.0.0.1:1", 1)], ids=["no url", "nobody there"]
)
def test_what_cannot_be_probed_is_told(url, code):
    done = CliRunner().invoke(minewatch.app, ["probe", "opcua", url, "--yes"])
    assert done.exit_code == code


def test_a_server_that_is_no_opc_ua_is_a_word_in_bounded_time():
    async def story() -> None:
        closed = asyncio.Event()

        async def http(reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with contextlib.suppress(OSError):
                await reader.read()
                writer.close()
                await writer.wait_closed()
            closed.set()

        server = await asyncio.start_server(http, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, asyncio.timeout(15):
            with pytest.raises(LinkLost):
                await probe_opcua(OpcUaSettings(f"opc.tcp://127.0.0.1:{port}", timeout_s=0.5), SystemClock(), Bounds())
            await closed.wait()

    asyncio.run(story())


def test_node_opcua_is_browsed_whole_in_one_page_or_by_continuation_points(tmp_path):
    if why := node_opcua.missing():
        pytest.skip(why)
    points, _ = node_opcua.all_points(1.0)
    with node_opcua.NodeServer(tmp_path) as server:
        server.start()
        whole, paged = probed(server.url), probed(server.url, references=7)
        assert json.loads(server.ask()) == {"sessions": 0, "subscriptions": 0}
    for found in (whole, paged):
        addresses = {row["address"] for row in found.draft("n", Subsystem.POWER).rows}
        assert {point.address for point in points} <= addresses
        assert found.trouble == []
    assert paged.walk.requests > whole.walk.requests
    assert any(endpoint.certificate for endpoint in whole.endpoints)


class ScriptedServer:
    """5,000 variables in folders, one of them with half of all; slow, with few continuation points, one bad folder."""

    def __init__(self, *, page: int = 500, points: int = 2, delay_s: float = 0.002) -> None:
        self.page, self.points, self.delay_s = page, points, delay_s
        self.children: dict[object, list[Child]] = defaultdict(list)
        for folder in range(25):
            self.children["Objects"].append(Child((2, f"f{folder}"), f"f{folder}", "", variable=False))
            for n in range(2500 if folder == 0 else 2500 // 24 + 1):
                name = f"f{folder}.v{n}"
                self.children[f"f{folder}"].append(Child((2, name), name, "", variable=True))
        self.children["Objects"].append(Child((2, "bad"), "bad", "", variable=False))
        self.open: dict[bytes, list[Child]] = {}
        self.asked_at_once: list[int] = []
        self.given_back = 0

    async def browse(self, nodes):
        self.asked_at_once.append(len(nodes))
        await asyncio.sleep(self.delay_s)
        return [self._page(self.children["Objects" if node == (0, 85) else node[1]], node) for node in nodes]

    async def browse_next(self, points, *, release=False):
        await asyncio.sleep(self.delay_s)
        lists = [self.open.pop(point) for point in points]
        if release:
            self.given_back += len(points)
            return []
        return [self._page(left, None) for left in lists]

    def _page(self, left, node) -> Page:
        if node == (2, "bad"):
            return Page(0x80340000)
        if len(left) <= self.page:
            return Page(0, tuple(left))
        if len(self.open) >= self.points:
            return Page(BAD_NO_CONTINUATION_POINTS)
        point = f"{len(self.asked_at_once)}.{len(left)}".encode()
        self.open[point] = left[self.page :]
        return Page(0, tuple(left[: self.page]), point)


def walked(server: ScriptedServer, **bounds):
    async def story():
        async with asyncio.timeout(20):
            return await walk(server, **({"at_once": 100, "most_nodes": 20_000, "within_s": 15.0} | bounds))

    return asyncio.run(story())


def test_five_thousand_nodes_of_a_slow_server_come_in_bounded_requests_whatever_pages_it_makes():
    server = ScriptedServer()
    told: list[int] = []
    found = walked(server, told=lambda so_far: told.append(so_far.nodes))
    assert len(found.variables) == len({variable.node for variable in found.variables}) == 2500 + 24 * 105
    assert (found.ended, found.refused) == ("", 1)
    assert max(server.asked_at_once) <= 100
    assert found.requests <= 1 + 1 + 5 + 51 + 5
    assert told == sorted(told)
    assert server.open == {}


def test_nodes_for_which_no_continuation_point_is_left_are_asked_for_again_alone():
    server = ScriptedServer(page=60, points=1)
    found = walked(server)
    assert len(found.variables) == 2500 + 24 * 105
    assert found.ended == ""


@pytest.mark.parametrize(
    ("bounds", "ended"),
    [({"most_nodes": 40}, "more than 40 nodes"), ({"within_s": 0.05}, "not done within 0.05 s")],
    ids=["nodes", "time"],
)
def test_what_a_bound_cuts_off_is_said_and_what_was_found_stands(bounds, ended):
    found = walked(ScriptedServer(delay_s=0.01), **bounds)
    assert found.ended == ended
    assert 0 < len(found.variables)


def test_a_server_that_repeats_its_continuation_point_is_left():
    class Endless(ScriptedServer):
        async def browse_next(self, points, *, release=False):
            if release:
                self.given_back += 1
                return []
            return [Page(0, (), point) for point in points]

    server = Endless()
    found = walked(server)
    assert (found.ended, server.given_back) == ("", 1)


@cache
def a_key():
    return make_key()


@pytest.mark.parametrize(
    ("made", "dialled", "problems"),
    [
        ({}, "srv", []),
        ({"days": 10}, "srv", ["certificate ends in 10 days"]),
        ({"now_ms": NOW_MS - 400 * 86_400_000, "days": 365}, "srv", ["certificate expired"]),
        ({"now_ms": NOW_MS + 86_400_000}, "srv", ["certificate not yet valid"]),
        ({"uri": "urn:other"}, "srv", ["certificate wrong URI"]),
        ({}, "192.0.2.9", ["certificate does not name this host"]),
    ],
    ids=["right", "ends soon", "expired", "not yet", "wrong URI", "another host"],
)
def test_what_is_wrong_with_a_certificate_has_a_word(made, dialled, problems):
    papers = make_certificate(a_key(), **({"uri": "urn:srv", "name": "srv", "hosts": ["srv"], "now_ms": NOW_MS} | made))
    facts = certificate_facts(papers.der, "urn:srv", dialled, NOW_MS)
    assert facts["problems"] == problems
    assert facts["subject"] == "CN=srv"
    assert len(facts["sha256"]) == 64
    assert datetime.fromisoformat(facts["valid_to"]).tzinfo is UTC


def test_an_endpoint_that_names_another_host_than_was_dialled_is_a_hint():
    endpoint = Endpoint("opc.tcp://plc-7:4840/x", "none", "None", 0, ("anonymous",), "urn:srv", "srv", "", b"")
    assert endpoint.to_json("192.0.2.9", NOW_MS)["hints"] == ["endpoint names host plc-7, reached as 192.0.2.9"]
    assert endpoint.to_json("PLC-7", NOW_MS)["hints"] == []


def test_a_certificate_that_is_none_is_told():
    assert certificate_facts(b"nonsense", "urn:srv", "srv", NOW_MS) == {"problems": ["certificate unreadable"]}


@pytest.mark.parametrize(
    ("name", "code"), [("°C", "degC"), ("kPa", "kPa"), ("", ""), ("furlong", None), ("m³/h", "m3/h")]
)
def test_units_are_taken_over_only_where_they_are_known(name, code):
    assert unit_code(name) == code


def test_addresses_are_written_with_the_namespace_by_uri():
    namespaces = ["http://opcfoundation.org/UA/", "urn:a;b%", ""]
    assert address_text((1, "x;y"), namespaces) == "nsu=urn:a%3Bb%25;s=x;y"
    assert address_text((1, b"\x01\x02"), namespaces) == "nsu=urn:a%3Bb%25;b=AQI="
    assert address_text((0, 2258), namespaces) == "i=2258"
    assert address_text((2, 1), namespaces) is None
    assert address_text((7, 1), namespaces) is None


def test_ids_of_a_draft_are_unique_whatever_the_names():
    plain = Attributes(data_type=(0, 11), access=1)
    found = [(Variable((1, n), ("泵", name), name), plain) for n, name in enumerate(["A b", "a_b", "水位", "a-b"])]
    ids = [row["id"] for row in draft_points(found, ["", "urn:x"], source="s", subsystem=Subsystem.POWER).rows]
    assert ids == ["s.a_b", "s.a_b_2", "s", "s.a_b_3"]
