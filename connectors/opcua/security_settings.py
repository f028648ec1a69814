"""The keys of `[source.ID]` that say how a server is trusted and as whom the box comes. No file is opened here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mines.errors import Problem
from mines.site.problems import any_of, one_of, shown

if TYPE_CHECKING:
    from mines.site.source_table import SourceTable

POLICIES: Final = ("none", "Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
MODES: Final = ("Sign", "SignAndEncrypt")
KEYS: Final = (
    "security", "mode", "certificate", "key", "trust", "pin",
    "user", "password_file", "user_certificate", "user_key", "allow_clear_password",
)  # fmt: skip

_PIN: Final = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}")


@dataclass(frozen=True, slots=True)
class Security:
    """A secured channel: policy and mode of the one endpoint that is used, our papers, whom we believe."""

    policy: str  # one of POLICIES, never none
    mode: str  # one of MODES
    certificate: Path
    key: Path
    trust: tuple[Path, ...] = ()  # files and folders
    pin: str = ""  # SHA-256 of the server's certificate, 64 digits in lower case


@dataclass(frozen=True, slots=True)
class User:
    """As whom the box logs in: with a password, or with a certificate of a user."""

    name: str = ""
    password_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    allow_clear_password: bool = False  # on a channel, or by a token policy, that does not encrypt it


class SecurityReader:
    """Reads the keys of one table; what is wrong gathers in `problems`."""

    def __init__(self, table: SourceTable, problems: list[Problem]) -> None:
        self._table, self._problems = table, problems
        self._settings: Mapping[str, Any] = table.settings

    def security(self) -> Security | None:
        """The secured channel; None = none, or something is wrong with it."""
        policy = self._choice("security", POLICIES, "none")
        mode = self._choice("mode", MODES, "SignAndEncrypt")
        pin = self._pin()
        trust = self._trust()
        if policy in (None, "none"):
            for key in ("mode", "certificate", "key", "trust", "pin"):
                if key in self._settings and policy == "none":
                    self._problem(key, 'without meaning while security is "none"', f"a policy, or no {key}")
            return None
        certificate, key_file = self._needed_file("certificate"), self._needed_file("key")
        if not trust and not pin:
            self._problem("trust", "missing: no server would be believed", "trust = [files or a folder], or pin")
        if mode is None or certificate is None or key_file is None:
            return None
        return Security(str(policy), mode, certificate, key_file, trust, pin)

    def user(self) -> User | None:
        """The user; None = anonymous, or something is wrong with it."""
        allow = self._settings.get("allow_clear_password", False)
        if not isinstance(allow, bool):
            self._problem("allow_clear_password", f"{shown(allow)} is not allowed", "true or false")
        if "user_certificate" in self._settings or "user_key" in self._settings:
            return self._certified_user()
        if "user" not in self._settings:
            for key in ("password_file", "allow_clear_password"):
                if key in self._settings:
                    self._problem(key, "without meaning where there is no user", f"user, or no {key}")
            return None
        name = self._settings["user"]
        if not isinstance(name, str) or not name.strip():
            self._problem("user", f"{shown(name)} is not allowed", "the name of a user of the server")
        password = self._needed_file("password_file")
        if self._settings.get("security", "none") == "none" and allow is not True:
            what = "the password would go over the network in clear"
            self._problem("user", what, "security with a policy, or allow_clear_password = true")
        return None if password is None else User(str(name), password, allow_clear_password=allow is True)

    def _certified_user(self) -> User | None:
        certificate, key = self._needed_file("user_certificate"), self._needed_file("user_key")
        if self._settings.get("security", "none") == "none":
            self._problem("user_certificate", "needs a secured channel", 'security other than "none"')
        for other in ("user", "password_file", "allow_clear_password"):
            if other in self._settings:
                self._problem(other, "stands beside user_certificate", "a user with a password, or one with papers")
        return None if certificate is None or key is None else User(certificate=certificate, key=key)

    def _choice(self, key: str, words: tuple[str, ...], default: str) -> str | None:
        value = self._settings.get(key, default)
        if isinstance(value, str) and value in words:
            return value
        expected = one_of(words, value) if isinstance(value, str) else any_of(words)
        self._problem(key, f"{shown(value)} is not allowed", expected)
        return None

    def _pin(self) -> str:
        value = self._settings.get("pin", "")
        if isinstance(value, str) and (not value or _PIN.fullmatch(value)):
            return value.replace(":", "").lower()
        self._problem("pin", f"{shown(value)} is not allowed", "a SHA-256 fingerprint, 64 hexadecimal digits")
        return ""

    def _trust(self) -> tuple[Path, ...]:
        value = self._settings.get("trust", [])
        places = [value] if isinstance(value, str) else value
        if isinstance(places, list) and all(isinstance(place, str) and place.strip() for place in places):
            return tuple(self._path(place) for place in places)
        self._problem("trust", f"{shown(value)} is not allowed", "a folder, or a list of files and folders")
        return ()

    def _needed_file(self, key: str) -> Path | None:
        value = self._settings.get(key)
        if isinstance(value, str) and value.strip():
            return self._path(value)
        self._problem(key, "missing" if value is None else f"{shown(value)} is not allowed", "the name of a file")
        return None

    def _path(self, name: str) -> Path:
        return Path(name) if self._table.folder is None else self._table.folder / name

    def _problem(self, key: str, what: str, expected: str) -> None:
        full = f"source.{self._table.id}.{key}"
        self._problems.append(Problem(self._table.file, self._table.line(key), full, what, expected))
