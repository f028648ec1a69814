"""Before a session: which endpoint of the server is used, whether its certificate is believed, as whom the box comes.

The endpoint is the one with exactly the policy and mode of the settings; none is ever fallen back to. Files are read at
each connect, so that renewed papers are in use from the next one on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from asyncua import ua
from asyncua.crypto.security_policies import (
    SecurityPolicy,
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)

from connectors.opcua.certificates import PaperFault, Papers, ends_ms, names_host, read_papers, uris_of
from connectors.opcua.expiry import ChannelFacts
from connectors.opcua.paper_checks import read_password
from connectors.opcua.security_settings import Security, User
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.tap import WireTap
from connectors.opcua.trust import Trust, judge, read_trust
from connectors.opcua.wire import NO_SUCH_ENDPOINT, Login, ReadOnlyClient
from mines.clock import Clock

_POLICIES: Final = MappingProxyType[str, type[SecurityPolicy]](
    {
        "Basic256Sha256": SecurityPolicyBasic256Sha256,
        "Aes128Sha256RsaOaep": SecurityPolicyAes128Sha256RsaOaep,
        "Aes256Sha256RsaPss": SecurityPolicyAes256Sha256RsaPss,
    }
)
_MODES: Final = MappingProxyType(
    {"Sign": ua.MessageSecurityMode.Sign, "SignAndEncrypt": ua.MessageSecurityMode.SignAndEncrypt}
)


async def make_ready(
    client: ReadOnlyClient, settings: OpcUaSettings, clock: Clock, tap: WireTap | None
) -> ChannelFacts:
    """Gives a client that is not connected yet its policy and its login, once the server's certificate is believed.

    Args:
        client: Of the settings, not connected.
        settings: What was agreed on in site.toml.
        clock: By which certificates are valid or not.
        tap: Sees every chunk.
    Raises:
        PaperFault: its message is the word for what is wrong.
    """
    if settings.user is not None:
        client.login = await asyncio.to_thread(_login, settings.user)
    if settings.security is None:
        return ChannelFacts()
    own, trust = await asyncio.to_thread(_own_files, settings.security)
    endpoint = _chosen(await _endpoints(settings, tap), settings.security)
    server = judge(
        endpoint.ServerCertificate or b"",
        trust,
        pin=settings.security.pin,
        uri=endpoint.Server.ApplicationUri or "",
        now_ms=clock.wall_ms(),
    )
    policy = _POLICIES[settings.security.policy]
    mode = _MODES[settings.security.mode]
    client.secure(policy(server, own.certificate, own.key, mode), uris_of(own.certificate)[0])
    host = client.server_url.hostname or ""
    return ChannelFacts(ends_ms(own.certificate), ends_ms(server), host_named=names_host(server, host))


def _login(user: User) -> Login:
    if user.certificate is not None and user.key is not None:
        return Login(papers=read_papers(user.certificate, user.key, "user"))
    password = read_password(user.password_file) if user.password_file is not None else ""
    return Login(user.name, password, allow_clear_password=user.allow_clear_password)


def _own_files(security: Security) -> tuple[Papers, Trust | None]:
    own = read_papers(security.certificate, security.key)
    if not uris_of(own.certificate):
        raise PaperFault("own certificate without URI")
    return own, read_trust(security.trust) if security.trust or not security.pin else None


async def _endpoints(settings: OpcUaSettings, tap: WireTap | None) -> Sequence[ua.EndpointDescription]:
    """What the server offers, asked for over a channel without security, as the standard has it."""
    client = ReadOnlyClient(settings, tap)
    try:
        await client.connect_sessionless()
        endpoints = await client.get_endpoints()
        await client.close_secure_channel()
        return endpoints
    finally:
        client.drop()


def _chosen(endpoints: Sequence[ua.EndpointDescription], security: Security) -> ua.EndpointDescription:
    wanted = (_POLICIES[security.policy].URI, _MODES[security.mode])
    for endpoint in endpoints:
        over_tcp = (endpoint.EndpointUrl or "").startswith("opc.tcp")
        if over_tcp and (endpoint.SecurityPolicyUri, endpoint.SecurityMode) == wanted:
            return endpoint
    raise PaperFault(NO_SUCH_ENDPOINT)
