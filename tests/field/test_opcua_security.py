"""Secured channels and users against a real server: what is spoken, what is refused, by which word (F56, F57, F60)."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opcua_mine import Heard, listen, new_name, point, quick_source, settled, spoken, the_mine
from opcua_papers import (
    DAY_MS,
    OUR_URI,
    SERVER_URI,
    authority,
    crl,
    key,
    now_ms,
    our_papers,
    server_papers,
    write,
)
from opcua_proxy import Proxy, message_type
from opcua_secure import PASSWORD, USER, SecureServer, secure_mine, user_papers

from connectors.opcua.certificates import Papers, fingerprint, make_certificate, uris_of
from connectors.opcua.security_settings import Security, User
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.source import OpcUaSource
from mines.clock import ManualClock, SystemClock
from mines.model import LinkState, RowKind
from mines.quality import Reason, Severity, bad, severities

PERIOD_S = 0.25
SLACK_S = 0.5  # two shared cores, and RSA on them
POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Path:
    """The files that site.toml would name."""
    folder = tmp_path_factory.mktemp("papers")
    write(folder, "own.pem", our_papers().pem)
    write(folder, "own.key", our_papers().key_pem)
    write(folder, "user.pem", user_papers().pem)
    write(folder, "user.key", user_papers().key_pem)
    write(folder, "ca.pem", authority().pem)
    write(folder, "other.pem", authority("another CA").pem)
    write(folder, "password", f"{PASSWORD}\n".encode())
    write(folder, "wrong", b"guessed\n")
    return folder


@pytest.fixture
def mine() -> Iterator[SecureServer]:
    """The server, with its usual certificate before and after."""
    server = secure_mine()
    usual = server_papers(issuer=authority())
    server.present(usual)
    yield server
    server.present(usual)


def security(papers: Path, policy: str = POLICIES[0], mode: str = "SignAndEncrypt", **more) -> Security:
    named = {"certificate": papers / "own.pem", "key": papers / "own.key", "trust": (papers / "ca.pem",)}
    return Security(policy, mode, **(named | more))


def with_password(papers: Path, file: str = "password") -> User:
    return User(USER, papers / file)


def secured(url: str, points, channel: Security | None, user: User | None, **more) -> OpcUaSource:
    """A source at the pace of a test; RSA on two shared cores takes its time."""
    return quick_source(url, points, timeout_s=3.0, security=channel, user=user, **more)


def one_point(mine) -> list:
    return [point("p", mine.add(new_name(), 1.0), PERIOD_S)]


def refused(heard: Heard) -> bool:
    return heard.links[-1].state == LinkState.LOST


def word_of(source: OpcUaSource, within_s: float = 15) -> str:
    """The word with which the first attempt ends; every point is bad by then."""
    heard = asyncio.run(listen(source, lambda h: refused(h) and h.last(0) is not None, within_s=within_s))
    assert {word for _, word in heard.rows(0)} == {bad(Reason.NO_COMMUNICATION)}
    return heard.links[-1].last_error


@pytest.mark.parametrize("user", ["password", "certificate"])
@pytest.mark.parametrize(
    ("policy", "mode"),
    [*((policy, "SignAndEncrypt") for policy in POLICIES), ("Basic256Sha256", "Sign")],
    ids=[*POLICIES, "signed only"],
)
def test_a_value_comes_through_each_policy_for_each_kind_of_user(papers, mine, policy, mode, user):
    users = {
        "password": with_password(papers),
        "certificate": User(certificate=papers / "user.pem", key=papers / "user.key"),
    }
    source = secured(mine.url, one_point(mine), security(papers, policy, mode), users[user])
    heard = asyncio.run(listen(source, lambda h: spoken(h, 0, 1.0), within_s=15))
    report = heard.links[-1]
    assert (report.state, report.last_error) == (LinkState.GOOD, "")
    assert 363 <= report.counters["certificate days"] <= 365
    assert 363 <= report.counters["own certificate days"] <= 365


@pytest.mark.parametrize(
    ("presented", "word"),
    [
        (lambda: server_papers(since_days=-400, issuer=authority()), "certificate expired: "),
        (lambda: server_papers(since_days=10, issuer=authority()), "certificate not yet valid: "),
        (lambda: server_papers(uri="urn:somebody:else", issuer=authority()), "certificate wrong URI"),
        (lambda: server_papers(issuer=authority("another CA")), "certificate untrusted"),
        (lambda: server_papers(), "certificate untrusted"),
        (lambda: server_papers(issuer=authority(), bits=1024), "certificate key too small"),
    ],
    ids=["expired", "not yet valid", "wrong URI", "signed by a stranger", "signed by itself", "1024 bits"],
)
def test_a_certificate_that_is_not_right_is_refused_before_any_session_and_each_fault_has_its_word(
    papers, mine, presented, word
):
    mine.present(presented())
    before = mine.sessions
    source = secured(mine.url, one_point(mine), security(papers), with_password(papers))
    assert word_of(source).startswith(word)
    assert mine.sessions == before


def test_a_revoked_certificate_is_refused(papers, mine, tmp_path):
    good, revoked = server_papers(issuer=authority()), server_papers(issuer=authority())
    write(tmp_path, "ca.pem", authority().pem)
    write(tmp_path, "ca.crl", crl(authority(), revoked))
    channel = security(papers, trust=(tmp_path,))
    mine.present(revoked)
    source = secured(mine.url, one_point(mine), channel, with_password(papers))
    assert word_of(source) == "certificate revoked"
    mine.present(good)
    heard = asyncio.run(listen(source, lambda h: spoken(h, 0, 1.0), within_s=15))
    assert heard.links[-1].state == LinkState.GOOD


def test_a_refused_server_leaves_its_neighbour_alone(papers, mine):
    mine.present(server_papers())
    barred = secured(mine.url, one_point(mine), security(papers), with_password(papers))
    open_mine = the_mine()
    name = new_name()
    neighbour = quick_source(open_mine.url, [point("n", open_mine.add(name, 2.0), PERIOD_S)])

    async def both() -> tuple[Heard, Heard]:
        return await asyncio.gather(
            listen(barred, lambda h: len(h.rows(0)) >= 4, within_s=15),
            listen(neighbour, lambda h: len(h.batches(RowKind.CONFIRM)) >= 4, within_s=15),
        )

    lost, fine = asyncio.run(both())
    assert set(severities(lost.batches()[-1].quality).tolist()) == {Severity.BAD}
    assert fine.values(0) == [2.0]
    assert {report.state for report in fine.links} == {LinkState.CONNECTING, LinkState.GOOD}


@pytest.mark.parametrize("with_trust", [False, True], ids=["alone", "and a trust list"])
def test_a_pinned_certificate_is_believed_and_no_other(papers, mine, with_trust):
    pinned, other = server_papers(issuer=authority()), server_papers(issuer=authority())
    trust = (papers / "ca.pem",) if with_trust else ()
    channel = security(papers, trust=trust, pin=fingerprint(pinned.certificate))
    source = secured(mine.url, one_point(mine), channel, with_password(papers))
    mine.present(other)
    assert word_of(source) == "certificate not the pinned one"
    mine.present(pinned)
    heard = asyncio.run(listen(source, lambda h: spoken(h, 0, 1.0), within_s=15))
    assert heard.links[-1].state == LinkState.GOOD


@pytest.mark.parametrize(
    ("user", "word"),
    [
        (lambda papers: with_password(papers, "wrong"), "user refused"),
        (lambda papers: User(certificate=papers / "own.pem", key=papers / "own.key"), "user refused"),
        (lambda papers: None, "anonymous refused"),
        (lambda papers: with_password(papers, "nowhere"), "password file unreadable"),
    ],
    ids=["wrong password", "unknown certificate", "anonymous", "no password file"],
)
def test_a_user_that_is_not_let_in_is_told_by_a_word(papers, mine, user, word):
    assert word_of(secured(mine.url, one_point(mine), security(papers), user(papers))) == word


def test_there_is_no_falling_back_to_an_endpoint_of_another_policy(papers):
    source = secured(the_mine().url, one_point(the_mine()), security(papers, "Aes128Sha256RsaOaep"), None)
    assert word_of(source) == "no such endpoint"
    assert word_of(secured(secure_mine().url, one_point(secure_mine()), None, None)) == "no endpoint without security"


def test_a_password_never_goes_in_clear_unless_it_was_allowed(papers):
    mine = the_mine()  # it offers no policy and takes any user
    seen: list[bytes] = []
    points = one_point(mine)

    async def scenario(user: User) -> Heard:
        async with Proxy(mine.port) as proxy:
            settings = OpcUaSettings(proxy.url, publishing_ms=50, sampling_ms=50, timeout_s=3.0, user=user)
            tap = lambda source, sending, at_ns, frame: seen.append(frame) if sending else None  # noqa: E731
            source = OpcUaSource("fan", points, settings, SystemClock(), tap)
            return await listen(source, lambda h: refused(h) or spoken(h, 0, 1.0), within_s=15)

    heard = asyncio.run(scenario(with_password(papers)))
    assert heard.links[-1].last_error == "password would go in clear"
    assert not any(PASSWORD.encode() in frame for frame in seen)
    allowed = replace(with_password(papers), allow_clear_password=True)
    heard = asyncio.run(scenario(allowed))
    assert heard.links[-1].state == LinkState.GOOD
    assert any(PASSWORD.encode() in frame for frame in seen), "the tap sees what a thief on the line would"


def test_while_the_boxs_clock_is_wrong_the_word_says_what_the_box_believes(papers, mine):
    settings = OpcUaSettings(mine.url, timeout_s=3.0, security=security(papers), user=with_password(papers))
    source = OpcUaSource("fan", one_point(mine), settings, ManualClock(wall_ms=5 * DAY_MS))
    heard = asyncio.run(listen(source, refused, within_s=15))
    assert heard.links[-1].last_error.startswith("certificate not yet valid: 20")
    assert heard.links[-1].last_error.endswith("> 1970-01-06")


@pytest.mark.parametrize(
    ("days", "word"),
    [(100, ""), (59, "within 60 days"), (30, "within 30 days"), (5, "within 7 days")],
    ids=["a long time", "59", "30", "5"],
)
def test_a_servers_certificate_that_ends_soon_is_told_of_while_the_link_works(papers, mine, days, word):
    mine.present(server_papers(days=days, issuer=authority()))
    source = secured(mine.url, one_point(mine), security(papers), with_password(papers))
    heard = asyncio.run(listen(source, lambda h: h.links[-1].state == LinkState.GOOD, within_s=15))
    assert heard.links[-1].last_error == (f"server certificate ends {word}" if word else "")
    assert heard.links[-1].counters["certificate days"] in (days - 1, days)


def test_renewed_papers_of_both_sides_are_used_at_the_next_connect(papers, mine, tmp_path):
    own, own_key = write(tmp_path, "own.pem", our_papers().pem), write(tmp_path, "own.key", our_papers().key_pem)
    renewed = make_certificate(key("renewed"), uri=OUR_URI, name="minewatch", hosts=[], now_ms=now_ms(), days=90)
    channel = security(papers, certificate=own, key=own_key)
    points = one_point(mine)

    async def scenario() -> Heard:
        async with Proxy(mine.port) as proxy:

            def renew() -> None:
                own.write_bytes(renewed.pem)
                own_key.write_bytes(renewed.key_pem)
                mine.present(server_papers(days=200, issuer=authority()))
                proxy.cut()

            steps = iter([renew])

            def meanwhile(heard: Heard) -> None:
                if spoken(heard, 0, 1.0) and heard.links[-1].reconnects == 0:
                    next(steps, lambda: None)()

            proxy.note = False
            source = secured(proxy.url, points, channel, with_password(papers))
            return await listen(source, lambda h: h.links[-1].reconnects == 1, within_s=15, meanwhile=meanwhile)

    heard = asyncio.run(scenario())
    report = heard.links[-1]
    assert report.state == LinkState.GOOD
    assert report.counters["certificate days"] in (199, 200)
    assert report.counters["own certificate days"] in (89, 90)


def test_a_channel_is_renewed_under_security_without_a_hole(papers, mine):
    name = new_name()
    points = [point("p", mine.add(name, 0.0), PERIOD_S)]
    source = secured(mine.url, points, security(papers), with_password(papers), channel_lifetime_s=1.0)
    opened: list[bytes] = []
    source._tap = lambda source, sending, at_ns, frame: opened.append(frame) if frame[:3] == b"OPN" else None
    numbers = itertools.count(1)

    def meanwhile(heard: Heard) -> None:
        if heard.last(0) is not None and len(heard.items) % 2 == 0:
            mine.write(name, float(next(numbers)))

    heard = asyncio.run(listen(source, lambda h: len(opened) >= 2 + 2 + 6, within_s=20, meanwhile=meanwhile))
    values = heard.values(0)
    assert len(values) > 5
    assert values == [float(n) for n in range(len(values))], "each change once and in order"
    assert {report.state for report in heard.links} == {LinkState.CONNECTING, LinkState.GOOD}


@pytest.mark.parametrize("fault", ["dropped", "refused"])
def test_a_renewal_that_fails_costs_a_session_and_the_gap_is_marked(papers, mine, fault):
    points = one_point(mine)
    spoilt: list[float] = []

    async def scenario() -> Heard:
        async with Proxy(mine.port) as proxy:
            proxy.note = False
            opened = itertools.count()

            def rewrite(chunk: bytes) -> bytes:
                if message_type(chunk) != "OPN" or next(opened) != 2:  # endpoints, session, then the first renewal
                    return chunk
                spoilt.append(asyncio.get_running_loop().time())
                if fault == "dropped":
                    return b""
                return b"ERRF" + (16).to_bytes(4, "little") + (0x80870000).to_bytes(4, "little") + b"\xff" * 4

            proxy.rewrite = rewrite
            source = secured(proxy.url, points, security(papers), with_password(papers), channel_lifetime_s=1.5)
            return await listen(source, lambda h: h.links[-1].reconnects == 1 and spoken(h, 0, 1.0), within_s=20)

    heard = asyncio.run(scenario())
    lost = [report for report in heard.links if report.state == LinkState.LOST]
    assert [report.last_error for report in lost] == ["channel renewal failed"]
    assert (heard.rows(0)[0][0], heard.rows(0)[-1][0]) == (1.0, 1.0)
    assert bad(Reason.NO_COMMUNICATION) in [word for _, word in heard.rows(0)]
    # Two periods of a second, the shortest answer that is waited for, and what a handshake takes on a shared core.
    assert heard.at_s[-1] - spoilt[0] <= 2.0 + 1.0 + 2 * SLACK_S


@pytest.mark.parametrize("with_security", [False, True], ids=["open", "secured"])
def test_an_endpoint_that_names_an_unreachable_host_is_reached_where_the_site_says(papers, mine, with_security):
    target = mine if with_security else the_mine()
    points = one_point(target)

    async def scenario() -> Heard:
        async with Proxy(target.port) as proxy:
            proxy.note = not with_security
            proxy.rewrite = lambda chunk: chunk.replace(b"opc.tcp://127.0.0.1:", b"opc.tcp://fan.plant:")
            channel, user = (security(papers), with_password(papers)) if with_security else (None, None)
            source = secured(proxy.url, points, channel, user)
            return await listen(source, lambda h: spoken(h, 0, 1.0), within_s=15)

    report = asyncio.run(scenario()).links[-1]
    assert report.state == LinkState.GOOD
    if not with_security:  # the secured session itself cannot be rewritten on its way
        assert report.counters["endpoint of another host"] == 1


def test_settings_without_a_trusted_name_for_the_host_are_a_notice_only(papers, mine):
    mine.present(
        make_certificate(
            key("server"), uri=SERVER_URI, name="fan", hosts=["fan.plant"], now_ms=now_ms(), issuer=authority()
        )
    )
    source = secured(mine.url, one_point(mine), security(papers), with_password(papers))
    heard = asyncio.run(listen(source, settled(source), within_s=15))
    assert (heard.links[-1].state, heard.links[-1].last_error) == (LinkState.GOOD, "certificate of another host")


def test_our_own_certificate_is_what_the_standard_wants():
    ours: Papers = our_papers()
    assert uris_of(ours.certificate) == [OUR_URI]
    assert ours.certificate.public_key().key_size == 2048
