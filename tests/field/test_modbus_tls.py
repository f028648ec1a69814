"""Modbus within TLS against a real server: who is believed, who is not, and that each has its own word."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from modbus_devices import Behaviour, Connection, Device, Request, answer, one_by_one
from modbus_points import modbus_point, modbus_source
from modbus_streams import Watch
from tls_papers import Authority, Paper, write_key

from connectors.modbus.address import Table
from connectors.modbus.links import open_link
from connectors.modbus.mbap import WriteRefused
from connectors.modbus.plan import ReadRequest
from connectors.modbus.settings import read_settings
from connectors.modbus.tls import TlsLink
from connectors.modbus.transport import TcpTransport, TlsFiles
from mines.clock import SystemClock
from mines.quality import Reason
from mines.site.source_table import SourceTable

ASK = ReadRequest(3, Table.HOLDING, 100, 4, ())


def run(coroutine: Coroutine[Any, Any, None], loop_factory: Any = None) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(coroutine, 20)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(bounded())


class Papers:
    """All there are in these tests."""

    def __init__(self, folder: Path) -> None:
        authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
        self.ca, self.other_ca = authority.path, stranger.path
        self.server = authority.sign("server", hosts=("127.0.0.1", "plc.mine"))
        self.expired = authority.sign("expired", hosts=("127.0.0.1",), ends_in_days=-1)
        self.elsewhere = authority.sign("elsewhere", hosts=("10.9.9.9", "fan.mine"))
        self.box = authority.sign("box")
        self.strange_box = stranger.sign("strange-box")
        self.box_expired = authority.sign("box-expired", ends_in_days=-1)
        locked = write_key(folder / "locked.pem", ec.generate_private_key(ec.SECP256R1()), b"secret")
        self.locked = Paper(self.box.certificate, locked)

    def files(self, box: Paper | None, ca: Path | None = None, name: str = "") -> TlsFiles:
        return TlsFiles(ca or self.ca, box.certificate if box else None, box.key if box else None, name)


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def server_context(papers: Papers, shown: Paper, newest: bool) -> ssl.SSLContext:
    """Of a server that wants to see the box's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    context.load_verify_locations(papers.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class TlsDevice(Device):
    """The same device, on a server that wants to see the box's certificate."""

    def __init__(self, papers: Papers, shown: Paper, behave: Behaviour = answer, newest: bool = True) -> None:
        super().__init__(behave)
        self._context = server_context(papers, shown, newest)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]


class Doorman:
    """A TLS server on OpenSSL's own sockets, which tells why it refuses (asyncio's just hangs up)."""

    def __init__(self, papers: Papers, shown: Paper, newest: bool) -> None:
        self._context = server_context(papers, shown, newest)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    async def __aenter__(self) -> "Doorman":
        self._thread.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        await asyncio.to_thread(self._thread.join, 5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(2)
            try:
                with connection, self._context.wrap_socket(connection, server_side=True) as channel:
                    while data := channel.recv(1000):
                        self.requests.append(data)
            except OSError:
                connection.close()


@contextlib.asynccontextmanager
async def linked(device: Device | Doorman, files: TlsFiles) -> AsyncGenerator[TlsLink]:
    transport = TcpTransport("127.0.0.1", device.port, connect_timeout_s=5.0, tls=files)
    link = open_link(transport, clock=SystemClock())
    assert isinstance(link, TlsLink)
    try:
        yield link
    finally:
        link.close("test over")
        await asyncio.sleep(0.01)


def proper(request: ReadRequest) -> bytes:
    return Request(1, 0, request.unit, request.table.function, request.first, request.count).data()


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("newest", [True, False], ids=["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize("name", ["", "plc.mine"], ids=["by address", "by name"])
def test_a_server_that_is_vouched_for_is_read(papers, name, newest, loop_factory):
    async def test() -> None:
        async with TlsDevice(papers, papers.server, newest=newest) as device:
            async with linked(device, papers.files(papers.box, name=name)) as link:
                assert await link.connect(), link.error
                for count in (4, 125):
                    request = ReadRequest(3, Table.HOLDING, 100, count, ())
                    reply = await link.read(request, 5.0)
                    assert (reply.payload, reply.reason) == (proper(request), Reason.NONE)

    run(test(), loop_factory)


REFUSED = {
    # what is wrong: server's paper, box's paper, the box's authority, expected name, word
    "wrong authority": ("server", "box", "other_ca", "", "certificate untrusted"),
    "expired": ("expired", "box", "ca", "", "certificate expired"),
    "wrong address": ("elsewhere", "box", "ca", "", "certificate of another host"),
    "wrong name": ("server", "box", "ca", "fan.mine", "certificate of another host"),
    "no certificate of the box": ("server", None, "ca", "", "own certificate refused"),
    "a certificate of a stranger": ("server", "strange_box", "ca", "", "own certificate refused"),
    "an expired certificate of the box": (
        "server",
        "box_expired",
        "ca",
        "",
        "own certificate refused",
    ),
    "a key with a password": ("server", "locked", "ca", "", "TLS files unreadable"),
}


@pytest.mark.parametrize("newest", [True, False], ids=["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize("name", REFUSED)
def test_each_thing_that_is_wrong_has_its_own_word_and_nothing_is_asked(papers, name, newest):
    shown, box, ca, server_name, word = REFUSED[name]

    async def test() -> None:
        async with Doorman(papers, getattr(papers, shown), newest) as device:
            files = papers.files(getattr(papers, box) if box else None, getattr(papers, ca), server_name)
            async with linked(device, files) as link:
                assert not await link.connect()
                assert link.error == word
                assert not link.connected
                assert (await link.read(ASK, 1.0)).reason is Reason.NO_COMMUNICATION
                assert device.requests == []

    run(test())


def test_a_server_that_only_hangs_up_on_the_box_leaves_the_link_down(papers):
    """asyncio's own server gives no reason; what happens first differs, that nothing stands does not."""

    async def test() -> None:
        async with TlsDevice(papers, papers.server) as device, linked(device, papers.files(None)) as link:
            assert not await link.connect()
            assert link.error in ("closed by the device", "TLS handshake broken off")

    run(test())


def test_a_device_that_speaks_no_tls_says_so(papers):
    def babbles(request: Request, connection: Connection) -> None:
        connection.send(b"garbage")

    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(greets, "127.0.0.1", 0)
        device = Device(babbles)
        device.port = server.sockets[0].getsockname()[1]
        async with linked(device, papers.files(papers.box)) as link:
            assert not await link.connect()
            assert link.error == "no TLS there"
        server.close()
        await server.wait_closed()

    run(test())


def test_files_that_are_not_there_stop_the_connection_not_the_program(papers):
    async def test() -> None:
        async with TlsDevice(papers, papers.server) as device:
            async with linked(device, replace(papers.files(papers.box), ca=Path("nowhere.pem"))) as link:
                assert not await link.connect()
                assert link.error == "TLS files unreadable"

    run(test())


def cut(request: Request, connection: Connection) -> None:
    """The reply in two records, its length told wrong by what follows: pymodbus' TLS framer would take the first."""
    reply = request.reply()
    connection.send(reply[:11])
    asyncio.get_running_loop().call_later(0.02, connection.send, reply[11:])


def test_a_reply_in_several_records_is_put_together(papers):
    """P10: pymodbus' TLS framer takes any data as a whole frame."""

    async def test() -> None:
        async with TlsDevice(papers, papers.server, cut) as device:
            async with linked(device, papers.files(papers.box)) as link:
                assert await link.connect()
                for _ in range(3):
                    assert (await link.read(ASK, 5.0)).payload == proper(ASK)

    run(test())


@pytest.mark.parametrize(
    "reply",
    [lambda r: r.reply(r.data()[:2]), lambda r: r.frame(b"\x04\x08" + r.data()), lambda r: r.reply()[:11]],
    ids=["too few registers", "other function", "half a reply"],
)
def test_what_does_not_fit_is_no_number_within_tls_either(papers, reply):
    async def test() -> None:
        async with TlsDevice(papers, papers.server, one_by_one([lambda r, c: c.send(reply(r))])) as device:
            async with linked(device, papers.files(papers.box)) as link:
                assert await link.connect()
                assert (await link.read(ASK, 0.3)).payload is None

    run(test())


def test_nothing_but_reads_leaves(papers):
    async def test() -> None:
        async with TlsDevice(papers, papers.server) as device:
            async with linked(device, papers.files(papers.box)) as link:
                assert await link.connect()
                with pytest.raises(WriteRefused):
                    await link._client.write_register(1, 1, device_id=3)
                assert device.requests == []

    run(test())


def test_a_source_reads_through_tls_and_comes_back_after_a_restart(papers):
    async def test() -> None:
        async with TlsDevice(papers, papers.server) as device:
            points = [modbus_point("1/holding/10", period_s=0.2)]
            source = modbus_source(points, device.port, connect_timeout_s=5.0, tls=papers.files(papers.box))
            async with Watch(source) as watch:
                await watch.until(lambda seen: seen.states(1)[-1:] == ["good"], 10)
                await device.stop()
                await watch.until(lambda seen: seen.states(1)[-1:] == ["lost"], 10)
                await device.start()
                await watch.until(lambda seen: seen.states(1)[-1:] == ["good"], 10)

    run(test())


def table(folder: Path | None = None, **keys: object) -> SourceTable:
    settings = {"host": "plc.mine", **keys}
    return SourceTable("plc", "modbus_tcp", settings, lines={"": 1, **{key: 2 for key in keys}}, folder=folder)


def test_tls_keys_turn_tls_on_at_its_own_port(papers):
    keys = {"tls_ca": "ca.pem", "tls_certificate": "box.pem", "tls_key": "key.pem", "tls_server_name": "plc-1"}
    settings, problems = read_settings(table(**keys), [])
    assert problems == []
    files = TlsFiles(Path("ca.pem"), Path("box.pem"), Path("key.pem"), "plc-1")
    assert settings.transport == TcpTransport("plc.mine", 802, tls=files)


def test_files_are_named_from_the_sites_folder(papers, tmp_path):
    (tmp_path / "ca.pem").write_text("")
    settings, problems = read_settings(table(tmp_path, tls_ca="ca.pem", port=8020), [])
    assert problems == []
    assert settings.transport.tls.ca == tmp_path / "ca.pem"
    assert settings.transport.port == 8020


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"tls_certificate": "a", "tls_key": "b"}, ["tls_ca"]),
        ({"tls_ca": "a", "tls_certificate": "b"}, ["tls_key"]),
        ({"tls_ca": "a", "tls_key": "b"}, ["tls_certificate"]),
        ({"tls_ca": ""}, ["tls_ca"]),
        ({"tls_ca": "a", "tls_server_name": 5}, ["tls_server_name"]),
        ({"tls_ca": "a", "framing": "rtu"}, ["framing"]),
    ],
    ids=["no authority", "no key", "no certificate", "empty", "no name", "RTU"],
)
def test_half_of_tls_is_a_problem_of_its_key(keys, wrong):
    _, problems = read_settings(table(**keys), [])
    assert [problem.key for problem in problems] == [f"source.plc.{key}" for key in wrong]


def test_a_file_that_is_not_there_is_told_by_check(tmp_path):
    _, problems = read_settings(table(tmp_path, tls_ca="nowhere.pem"), [])
    assert [problem.key for problem in problems] == ["source.plc.tls_ca"]
