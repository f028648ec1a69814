"""Files of papers: what `check` says of them, chains of trust, and the command that makes our own."""

from pathlib import Path

import pytest
import typer
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
from typer.testing import CliRunner

from connectors.opcua.certificate_command import add_certificate_command
from connectors.opcua.certificates import PaperFault, Papers, make_certificate, names_host, read_papers, uris_of
from connectors.opcua.expiry import ChannelFacts, expiry_word
from connectors.opcua.settings import read_settings, settings_warnings
from connectors.opcua.trust import Trust, judge, read_trust
from mines.errors import ConfigError
from mines.site.source_table import SourceTable
from mines.words import link_error

SECURED = {"security": "Basic256Sha256", "certificate": "own.pem", "key": "own.key", "trust": ["ca.pem"]}


def table(folder: Path | None, **settings: object) -> SourceTable:
    settings = {"url": "opc.tcp://h", **settings}
    lines = {"": 10, **{key: 11 + i for i, key in enumerate(settings)}}
    return SourceTable("fan", "opcua", settings, lines=lines, folder=folder)


@pytest.fixture
def folder(tmp_path) -> Path:
    write(tmp_path, "own.pem", our_papers().pem)
    write(tmp_path, "own.key", our_papers().key_pem)
    write(tmp_path, "ca.pem", authority().pem)
    write(tmp_path, "password", b"secret\n")
    return tmp_path


def keys_refused(folder: Path | None, **settings: object) -> list[str]:
    found, problems = read_settings(table(folder, **settings), [])
    assert (found is None) == bool(problems)
    return [problem.key.removeprefix("source.fan.") for problem in problems]


def test_whole_papers_are_taken_and_warned_of_in_nothing(folder):
    whole = {**SECURED, "user": "me", "password_file": "password"}
    found, problems = read_settings(table(folder, **whole), [])
    assert problems == []
    assert found.security.certificate == folder / "own.pem"
    assert found.security.trust == (folder / "ca.pem",)
    assert (found.security.mode, found.user.name, found.user.password_file) == (
        "SignAndEncrypt",
        "me",
        folder / "password",
    )
    assert settings_warnings(table(folder, **whole), now_ms()) == []


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"security": "Basic256"}, ["security"]),
        ({"mode": "None"}, ["mode"]),
        ({"trust": []}, ["trust"]),
        ({"trust": 5}, ["trust", "trust"]),
        ({"pin": "abc"}, ["pin"]),
        ({"certificate": ""}, ["certificate"]),
        ({"certificate": "ca.pem"}, ["key"]),
        ({"certificate": "own.key"}, ["certificate"]),
        ({"key": "own.pem"}, ["key"]),
        ({"key": "nowhere"}, ["key"]),
        ({"trust": ["nowhere"]}, ["trust"]),
        ({"trust": ["password"]}, ["trust"]),
        ({"user": "me"}, ["password_file"]),
        ({"user": "me", "password_file": "nowhere"}, ["password_file"]),
        ({"user": "", "password_file": "password"}, ["user"]),
        ({"password_file": "password"}, ["password_file"]),
        ({"user_certificate": "own.pem"}, ["user_key"]),
        ({"user_certificate": "own.pem", "user_key": "own.key", "user": "me"}, ["user"]),
        ({"allow_clear_password": "yes"}, ["allow_clear_password", "allow_clear_password"]),
        ({"password": "secret"}, ["password"]),
        ({"read": "listen"}, ["read"]),
        ({"history": 1}, ["history"]),
    ],
    ids=lambda value: str(value),
)
def test_what_is_wrong_is_told_at_its_key(folder, change, keys):
    assert keys_refused(folder, **(SECURED | change)) == keys


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"certificate": "own.pem"}, ["certificate"]),
        ({"pin": "ab" * 32}, ["pin"]),
        ({"user": "me", "password_file": "password"}, ["user"]),
        ({"user_certificate": "own.pem", "user_key": "own.key"}, ["user_certificate"]),
    ],
    ids=["a certificate", "a pin", "a password in clear", "a user's papers"],
)
def test_without_a_policy_there_are_no_papers_and_no_password_goes(folder, settings, keys):
    assert keys_refused(folder, **settings) == keys


def test_a_password_that_may_go_in_clear_is_a_warning(folder):
    settings = {"user": "me", "password_file": "password", "allow_clear_password": True}
    assert keys_refused(folder, **settings) == []
    assert [w.key for w in settings_warnings(table(folder, **settings), now_ms())] == [
        "source.fan.allow_clear_password"
    ]


@pytest.mark.parametrize("mode", [0o640, 0o604], ids=["group", "world"])
@pytest.mark.parametrize("name", ["own.key", "password"])
def test_a_secret_that_others_may_read_is_refused(folder, name, mode):
    (folder / name).chmod(mode)
    refused = keys_refused(folder, **SECURED, user="me", password_file="password")
    assert refused == ["key" if name == "own.key" else "password_file"]


@pytest.mark.parametrize("left", [400, 59, 20, 3, -2])
def test_own_papers_that_end_are_warned_of_by_check(folder, left):
    made_ms = now_ms() + (left - 365) * DAY_MS
    ending = make_certificate(key("ours"), uri=OUR_URI, name="m", hosts=[], now_ms=made_ms, days=365)
    write(folder, "own.pem", ending.pem)
    warnings = settings_warnings(table(folder, **SECURED), now_ms())
    assert [w.key for w in warnings] == ([] if left > 60 else ["source.fan.certificate"])
    assert all(("ended on" in w.what) == (left < 0) for w in warnings)


def test_der_is_taken_under_any_name(tmp_path):
    write(tmp_path, "a.txt", our_papers().der)
    write(tmp_path, "b.pem", our_papers().key_pem)
    assert read_papers(tmp_path / "a.txt", tmp_path / "b.pem").certificate == our_papers().certificate


# Trust


def judged(presented: bytes, trust: Trust | None, pin: str = "", at_ms: int | None = None) -> str:
    """The word for what is wrong; "" = nothing."""
    try:
        judge(presented, trust, pin=pin, uri=SERVER_URI, now_ms=now_ms() if at_ms is None else at_ms)
    except PaperFault as fault:
        return str(fault)
    return ""


def intermediate(of: Papers, name: str, *, ca: bool = True) -> Papers:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(of.certificate.subject)
        .public_key(key(name).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=100))
        .not_valid_after(now + timedelta(days=100))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
    )
    return Papers(builder.sign(of.key, hashes.SHA256()), key(name))


def test_a_certificate_is_believed_itself_or_by_its_signer_or_through_a_chain_it_presents():
    middle = intermediate(authority(), "middle")
    own, signed = server_papers(), server_papers(issuer=authority())
    deep = server_papers(issuer=middle)
    root = Trust((authority().certificate,))
    assert judged(own.der, Trust((own.certificate,))) == ""
    assert judged(signed.der, root) == ""
    assert judged(deep.der + middle.der, root) == ""
    assert judged(deep.der, Trust((middle.certificate,))) == ""
    assert judged(deep.der, root) == "certificate untrusted", "a link of the chain is missing"
    assert judged(signed.der, Trust()) == "certificate untrusted"


def test_who_is_no_authority_signs_for_nobody():
    clerk = intermediate(authority(), "clerk", ca=False)
    assert judged(server_papers(issuer=clerk).der + clerk.der, Trust((authority().certificate,))) == (
        "certificate untrusted"
    )


def test_an_issuer_that_has_ended_is_told_as_such():
    at_ms = now_ms() + 200 * DAY_MS
    middle = intermediate(authority(), "middle")
    word = judged(server_papers(issuer=middle).der + middle.der, Trust((authority().certificate,)), at_ms=at_ms)
    assert word.startswith("issuer certificate expired: ")


def test_a_revocation_by_somebody_else_counts_for_nothing(tmp_path):
    signed = server_papers(issuer=authority())
    stranger = Papers(authority().certificate, key("stranger"))  # takes the authority's name, not its key
    write(tmp_path, "ca.pem", authority().pem)
    write(tmp_path, "a.crl", crl(stranger, signed))
    assert judged(signed.der, read_trust([tmp_path])) == ""
    write(tmp_path, "b.crl", crl(authority(), signed))
    assert judged(signed.der, read_trust([tmp_path])) == "certificate revoked"


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x82\xff\xff", b"-----BEGIN nothing", b"\x00" * 100])
def test_what_is_no_certificate_is_told_as_such(data):
    assert judged(data, Trust()) == "certificate unreadable"


def test_a_trust_folder_with_a_file_that_cannot_be_read_is_no_trust_list(tmp_path):
    write(tmp_path, "ca.pem", authority().pem)
    write(tmp_path, "notes.txt", b"nothing to do with it")
    assert read_trust([tmp_path]).certificates == (authority().certificate,)
    write(tmp_path, "broken.crl", b"half a file")
    with pytest.raises(PaperFault, match="trust list unreadable"):
        read_trust([tmp_path])


# Words


def test_every_word_of_a_fault_has_a_chinese_one():
    words = [
        "certificate expired: 2026-01-01 < 2026-02-02",
        *(f"{whose} certificate ends within {days} days" for whose in ("own", "server") for days in (7, 30, 60)),
        *("certificate " + fault for fault in ("untrusted", "revoked", "wrong URI", "key too small", "unreadable")),
        "own certificate refused: BadCertificateUntrusted",
        "user refused",
        "anonymous refused",
        "channel renewal failed",
    ]
    for word in words:
        assert link_error(word, "zh") != word
        assert any("\u4e00" <= character <= "\u9fff" for character in link_error(word, "zh"))
    assert link_error(words[0], "zh").endswith(": 2026-01-01 < 2026-02-02")


def test_the_most_pressing_notice_is_told():
    day = DAY_MS
    facts = ChannelFacts(own_ends_ms=50 * day, server_ends_ms=6 * day, host_named=False)
    assert facts.notice(0) == "server certificate ends within 7 days"
    assert facts.notice(7 * day) == "server certificate expired"
    assert ChannelFacts(own_ends_ms=90 * day, host_named=False).notice(0) == "certificate of another host"
    assert ChannelFacts().notice(0) == ""
    assert facts.counters(0) == {"certificate days": 6, "own certificate days": 50}


@pytest.mark.parametrize(
    ("days", "within"), [(61, ""), (60, "60"), (31, "60"), (30, "30"), (8, "30"), (7, "7"), (0, "7")]
)
def test_a_word_is_said_from_its_day_on(days, within):
    assert expiry_word("own", days) == (f"own certificate ends within {within} days" if within else "")


# Our own


def site(folder: Path, security: str) -> Path:
    (folder / "site.toml").write_text(
        'schema = 1\n[mine]\nid = "m1"\nname_zh = "矿"\nname_en = "mine"\n'
        f'[source.fan]\nkind = "opcua"\nurl = "opc.tcp://h"\n{security}',
        encoding="utf-8",
    )
    header = "id,name_zh,subsystem,area,role,kind,unit,source,address,period_s"
    row = "fan.p,负压,ventilation,风井,other,analog,Pa,fan,i=2258,1"
    (folder / "points.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    return folder


def certificate_app() -> typer.Typer:
    app = typer.Typer()
    add_certificate_command(app)
    app.command("other")(lambda: None)  # with one command only typer would not ask for its name
    return app


def test_the_command_makes_papers_that_check_takes_and_replaces_none_unasked(tmp_path):
    security = 'security = "Basic256Sha256"\ncertificate = "keys/own.pem"\nkey = "keys/own.key"\ntrust = "trust"\n'
    folder = site(tmp_path, security)
    (folder / "trust").mkdir()
    runner = CliRunner()
    result = runner.invoke(certificate_app(), ["certificate", str(folder), "fan", "--json"])
    assert result.exception is None, result.output
    made = read_papers(folder / "keys/own.pem", folder / "keys/own.key")
    assert uris_of(made.certificate)[0].endswith(":minewatch:m1")
    assert (folder / "keys/own.key").stat().st_mode & 0o077 == 0
    assert not names_host(made.certificate, "elsewhere")
    again = runner.invoke(certificate_app(), ["certificate", str(folder), "fan"])
    assert isinstance(again.exception, ConfigError)
    renewed = runner.invoke(certificate_app(), ["certificate", str(folder), "fan", "--renew", "--days", "30"])
    assert renewed.exception is None
    assert read_papers(folder / "keys/own.pem", folder / "keys/own.key").certificate != made.certificate


@pytest.mark.parametrize("source", ["fan", "nobody"])
def test_the_command_refuses_a_source_that_needs_no_papers(tmp_path, source):
    result = CliRunner().invoke(certificate_app(), ["certificate", str(site(tmp_path, "")), source])
    assert isinstance(result.exception, ConfigError)
