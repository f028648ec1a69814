"""A real OPC UA server with the three policies, users with passwords and with certificates; nobody is anonymous."""

from __future__ import annotations

import atexit
import functools
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from opcua_mine import MineServer
from opcua_papers import SERVER_URI, Papers, authority, key, now_ms, server_papers

from connectors.opcua.certificates import make_certificate

USER, PASSWORD = "minewatch", "不要外传 secret"
_POLICIES = [
    getattr(ua.SecurityPolicyType, f"{policy}_{mode}")
    for policy in ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
    for mode in ("Sign", "SignAndEncrypt")
]


@functools.cache
def user_papers() -> Papers:
    return make_certificate(key("user"), uri="urn:mine:user", name="user", hosts=[], now_ms=now_ms())


class _Users:
    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        known = (username, password) == (USER, PASSWORD) if username else certificate == user_papers().der
        return User(UserRole.User) if known else None


class SecureServer(MineServer):
    """Its certificate may change while it runs."""

    async def _made(self) -> Server:
        server = await super()._made()
        await server.set_application_uri(SERVER_URI)
        server.set_security_policy(_POLICIES)
        server.set_identity_tokens([ua.X509IdentityToken, ua.UserNameIdentityToken])
        server.iserver.user_manager = _Users()
        papers = server_papers(issuer=authority())
        server.iserver.certificate, server.iserver.private_key = papers.certificate, papers.key
        return server

    def present(self, papers: Papers) -> None:
        """Shows another certificate to connections to come."""
        self._server.iserver.certificate, self._server.iserver.private_key = papers.certificate, papers.key
        for policy in self._server._policies:
            policy.certificate, policy.private_key = papers.certificate, papers.key
        for endpoint in self._server.iserver.endpoints:
            endpoint.ServerCertificate = papers.der


@functools.cache
def secure_mine() -> SecureServer:
    """One server for all tests: asyncua needs seconds to start one."""
    server = SecureServer().start()
    atexit.register(server.stop)
    return server
