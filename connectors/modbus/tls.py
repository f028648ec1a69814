"""Modbus TCP within TLS: MBAP frames as they are, on a channel whose two ends have shown each other certificates.

The context is our own, never a shared default (libraries P10): TLS 1.2 or newer, the server's certificate always
verified, with its name. The files are read anew for every connection, so that renewed ones need no restart.
Source: MODBUS/TCP Security Protocol Specification v21, 8.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

from connectors.modbus.link import TcpLink, watch_half_open
from connectors.modbus.transport import TcpTransport, TlsFiles
from mines.clock import Clock

_REFUSAL_S: Final = 0.2
"""How long a fresh channel is watched before it counts: with TLS 1.3 a server refuses the box's certificate only after
the channel stands for the box (project default)."""
_EXPIRED, _NOT_YET_VALID, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
_WORDS_OF_VERIFICATION: Final = {
    _EXPIRED: "certificate expired",
    _NOT_YET_VALID: "certificate not yet valid",
    _OTHER_NAME: "certificate of another host",
    _OTHER_ADDRESS: "certificate of another host",
}
"""By X509_V_ERR of OpenSSL; everything else is a chain that does not lead to `tls_ca`."""


class TlsFilesError(OSError):
    """The box's own files cannot be used."""


class TlsLink(TcpLink):
    """One connection to one (host, port). Meets `line.Link`.

    Args:
        transport: With its TLS files.
        clock: Stamps each reply at its arrival.
        tap: Sees every frame, in clear: sending, monotonic_ns, bytes.
    """

    def __init__(
        self,
        transport: TcpTransport,
        *,
        clock: Clock,
        tap: Callable[[bool, int, bytes], None] | None = None,
    ) -> None:
        assert transport.tls is not None
        self._files = transport.tls
        self._server_name = transport.tls.server_name or transport.host
        self._refusal: BaseException | None = None
        super().__init__(
            transport.host, transport.port, connect_timeout_s=transport.connect_timeout_s, clock=clock, tap=tap
        )
        ctx: Any = self._client.ctx
        lost = ctx.connection_lost

        def lost_with_its_reason(exc: BaseException | None) -> None:  # pymodbus says only that it is lost
            self._refusal = exc
            lost(exc)

        ctx.connection_lost = lost_with_its_reason

    def close(self, why: str) -> None:
        """Releases the connection, without waiting for the other side's goodbye."""
        transport: Any = self._client.ctx.transport
        super().close(why)
        if transport is not None:
            transport.abort()

    async def _made(self, create: Callable[..., Awaitable[object]]) -> object:
        return await create(ssl=make_context(self._files), server_hostname=self._server_name)

    async def _stands(self) -> bool:
        watch_half_open(self._client.ctx.transport)
        try:
            async with asyncio.timeout(_REFUSAL_S):
                await self.lost.wait()
        except TimeoutError:
            return True
        return False

    def _word_of(self, err: OSError) -> str:
        if isinstance(err, ConnectionError) and not isinstance(err, ConnectionRefusedError):
            return "TLS handshake broken off"
        return word_of_tls(err) or super()._word_of(err)

    def _word_of_loss(self) -> str:
        return word_of_tls(self._refusal) or super()._word_of_loss()


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """How the box speaks TLS.

    Raises:
        TlsFilesError: a file is not there, is no PEM, or a key does not belong to its certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=files.ca)
        if files.certificate is not None:
            # Without a password of ours OpenSSL would ask for one on the terminal.
            context.load_cert_chain(files.certificate, files.key, password="")
    except OSError as err:
        raise TlsFilesError(str(err)) from err
    return context


def word_of_tls(err: BaseException | None) -> str:
    """Why a channel could not be made or was ended, for people; "" where TLS has nothing to do with it."""
    if isinstance(err, TlsFilesError):
        return "TLS files unreadable"
    if isinstance(err, ssl.SSLCertVerificationError):
        return _WORDS_OF_VERIFICATION.get(err.verify_code, "certificate untrusted")
    if not isinstance(err, ssl.SSLError):
        return ""
    if "ALERT" in (err.reason or ""):
        return "own certificate refused" if _is_of_certificate(err.reason) else "TLS refused"
    return "no TLS there"


def _is_of_certificate(reason: str) -> bool:
    return any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "ACCESS_DENIED"))
