"""The connection under a session: asyncua's client with one send point, which only read-side services pass.

With `session.py` and `security.py` the client side's only asyncua.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClient, UASocketProtocol
from asyncua.client.ua_session import UaSession
from asyncua.crypto.security_policies import SecurityPolicy, SecurityPolicyNone
from asyncua.crypto.uacrypto import InvalidSignature as ChunkSignatureInvalid  # type: ignore[attr-defined]
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import nodeid_to_binary, struct_to_binary
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from cryptography.exceptions import InvalidSignature

from connectors.opcua.certificates import PaperFault, Papers
from connectors.opcua.services import require_read_side
from connectors.opcua.settings import OpcUaSettings
from connectors.opcua.tap import ChunkSplitter, TappedTransport, WireTap
from mines.errors import LinkLost

NO_SUCH_ENDPOINT: Final = "no such endpoint"

TOO_MUCH: Final = frozenset(
    {
        StatusCodes.BadTooManyOperations,
        StatusCodes.BadRequestTooLarge,
        StatusCodes.BadResponseTooLarge,
        StatusCodes.BadEncodingLimitsExceeded,
    }
)
"""Words of a server that finds one request, or its reply, too large."""
_USER_REFUSED: Final = frozenset(
    {
        StatusCodes.BadUserAccessDenied,
        StatusCodes.BadIdentityTokenInvalid,
        StatusCodes.BadIdentityTokenRejected,
        StatusCodes.BadUserSignatureInvalid,
    }
)
# What a reply that is no proper OPC UA makes asyncua raise while it decodes (fuzzed: its own asserts are among it).
UNREADABLE: Final = (
    UaError, struct.error, ValueError, LookupError, TypeError, OverflowError, AssertionError, AttributeError,
    RecursionError, InvalidSignature, ChunkSignatureInvalid,
)  # fmt: skip


@contextmanager
def link_errors() -> Iterator[None]:
    """Whatever goes wrong between box and server comes out as LinkLost with one word for the link report."""
    try:
        yield
    except PaperFault as fault:
        raise LinkLost(str(fault)) from fault
    except (OSError, *UNREADABLE) as error:
        raise LinkLost(error_word(error)) from error


def error_word(error: BaseException) -> str:
    """A short word for what went wrong: timeout, refused, unknown host, closed, a status name, wrong reply."""
    match error:
        case TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "refused"
        case socket.gaierror():
            return "unknown host"
        case ConnectionError():
            return "closed"
        case OSError():
            return "unreachable"
        case UaStatusCodeError():
            name = str(ua.StatusCode(ua.UInt32(error.code)).name)
            refused = name.startswith("BadCertificate") or error.code == StatusCodes.BadSecurityChecksFailed
            return f"own certificate refused: {name}" if refused else name
        case InvalidSignature() | ChunkSignatureInvalid():
            return "signature does not hold"
        case UaError() if "No matching endpoints" in str(error):
            return NO_SUCH_ENDPOINT if "#None" not in str(error) else "no endpoint without security"
        case _:
            return "wrong reply"


@dataclass(frozen=True, slots=True)
class Login:
    """As whom a session is activated: all empty = anonymous."""

    user: str = ""
    password: str = ""
    papers: Papers | None = None
    allow_clear_password: bool = False


@dataclass(frozen=True, slots=True)
class Orphan:
    """A session that a server may still hold because its close never got there. Servers allow few sessions."""

    token: ua.NodeId
    policies: Sequence[ua.UserTokenPolicy]
    nonce: bytes | None


# The single send point: every request of a connection passes `_ReadOnlyWire._send_request`.


class ReadOnlyClient(Client):
    def __init__(self, settings: OpcUaSettings, tap: WireTap | None) -> None:
        super().__init__(settings.url, timeout=settings.timeout_s)
        self.name = self.description = "minewatch"
        self.application_uri = self.product_uri = "urn:minewatch"
        self.session_timeout = round(settings.session_timeout_s * 1000)
        self.secure_channel_timeout = round(settings.channel_lifetime_s * 1000)
        services = _ReadOnlyServices(settings.timeout_s, tap)
        self.uaclient, self.services = services, services.raw
        self.login = Login()
        self.endpoint_host = ""  # as the server writes it, once a session is created

    def secure(self, policy: SecurityPolicy, uri: str) -> None:
        """The channel to come has this policy; `uri` is the ApplicationURI of the certificate in it."""
        self.security_policy = policy  # type: ignore[assignment]  # asyncua declares it as that of no security
        self.uaclient.set_security(policy)
        self.application_uri = uri

    @property
    def connected(self) -> bool:
        return self.uaclient.protocol is not None and not self.uaclient.protocol.is_closed

    def orphan(self) -> Orphan | None:
        token = self.uaclient.session.authentication_token
        return None if token.is_null() else Orphan(token, self._policy_ids, self._server_nonce)

    async def end(self, orphan: Orphan) -> None:
        """Takes over a session of an earlier connection (Part 4, 6.7), only to close it with its subscriptions."""
        self._policy_ids = list(orphan.policies)
        self._server_nonce = orphan.nonce  # type: ignore[assignment]  # asyncua declares it as None only
        self.uaclient.session.restore_authentication_token(orphan.token)
        try:
            await self._activate()
            await self.uaclient.session.close_session(True)
        except UaStatusCodeError:
            pass  # forgotten already, or the server does not let it go to another channel
        self.uaclient.session.reset_authentication_token()

    async def create_session(self) -> ua.CreateSessionResult:
        """Creates a session, at the URL that was dialled whatever host the server's endpoints name (F60)."""
        result = await super().create_session()
        endpoint = self.find_endpoint(result.ServerEndpoints, self.security_policy.Mode, self.security_policy.URI)
        self.endpoint_host = urlsplit(endpoint.EndpointUrl).hostname or ""
        return result

    async def log_in(self) -> None:
        """Activates the session as `login`.

        Raises:
            PaperFault: the server will not have this user, or the password would go in clear.
        """
        if self.login.password and not self.login.allow_clear_password and self._sends_in_clear():
            raise PaperFault("password would go in clear")
        try:
            await self._activate()
        except UaStatusCodeError as error:
            if error.code in _USER_REFUSED:
                known = self.login.user or self.login.papers is not None
                raise PaperFault("user refused" if known else "anonymous refused") from error
            raise

    async def _activate(self) -> None:
        papers = self.login.papers
        self.user_private_key = papers.key if papers is not None else None
        certificate = papers.certificate if papers is not None else None
        await self.activate_session(self.login.user, self.login.password, certificate)

    def _sends_in_clear(self) -> bool:
        token = self.server_policy(ua.UserTokenType.UserName)
        encrypted = self.security_policy.Mode == ua.MessageSecurityMode.SignAndEncrypt
        return not encrypted and token.SecurityPolicyUri in (None, "", SecurityPolicyNone.URI)

    def drop(self) -> None:
        """Lets go of the socket, whatever state the connection is in."""
        wire = self.uaclient.protocol
        transport = wire.transport if wire is not None else None
        self.disconnect_socket()
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()  # the peer takes nothing any more: a plain close would wait for it for ever


class _ReadOnlyServices(UaClient):
    def __init__(self, timeout_s: float, tap: WireTap | None) -> None:
        super().__init__(timeout_s)
        self.raw = ReadOnlySession(self)
        self.session = self.raw
        self._tap = tap

    def _make_protocol(self) -> UASocketProtocol:
        self.protocol = _ReadOnlyWire(self._timeout, self.security_policy, self._tap)
        self.protocol.on_connection_lost = self._on_transport_lost
        self.protocol.is_session_closing = self._is_session_closing
        return self.protocol


class ReadOnlySession(UaSession):
    """asyncua's session without a loop of its own, and with answers as they came."""

    def ensure_publish_loop(self) -> None:
        """Nothing: the source publishes itself, so that what cannot be decoded is noticed and not skipped."""

    async def ask(self, request: Any, *, timeout_s: float | None = None) -> bytes:  # noqa: ANN401  # as asyncua's
        """The body of the answer; a ServiceFault is raised as what it says. 0 s = no deadline, None = the client's."""
        data = await self._send_request(request, timeout_s)
        return data.read(len(data))


@dataclass(slots=True)
class EncodedRead:
    """A ReadRequest whose ReadParameters are bytes already."""

    parameters: bytes
    TypeId: ua.NodeId = field(default_factory=lambda: ua.ReadRequest().TypeId)
    RequestHeader: ua.RequestHeader = field(default_factory=ua.RequestHeader)


@contextmanager
def _plain_cancellation() -> Iterator[None]:
    """A cancellation that meets the reply comes out as one.

    asyncua waits by `wait_for2`, whose subclass of CancelledError `asyncio.timeout` does not know as its own: a
    deadline at the very moment of the reply would come out of the source as a defect (found by a rogue wire).
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if type(error) is asyncio.CancelledError:
            raise
        raise asyncio.CancelledError from None


class _ReadOnlyWire(UASocketProtocol):
    def __init__(self, timeout_s: float, security_policy: SecurityPolicy, tap: WireTap | None) -> None:
        super().__init__(timeout_s, security_policy)
        self._tap = tap
        self._received = ChunkSplitter()

    def _send_request(  # asyncua's own types: a request is any of a hundred classes
        self,
        request: Any,  # noqa: ANN401
        timeout: float = 1,
        message_type: ua.MessageType = ua.MessageType.SecureMessage,  # type: ignore[assignment]
    ) -> asyncio.Future[Any]:
        type_id = request.TypeId
        require_read_side(type_id.NamespaceIndex, type_id.Identifier, type(request).__name__)
        if isinstance(request, EncodedRead):
            return self._send_encoded(request, timeout)
        return super()._send_request(request, timeout, message_type)

    def _send_encoded(self, request: EncodedRead, timeout_s: float) -> asyncio.Future[Any]:
        """What asyncua does with a request, but that its parameters are encoded already."""
        if self.transport is None:
            raise ConnectionError("Connection is not open")
        self._setup_request_header(request.RequestHeader, timeout_s)
        body = nodeid_to_binary(request.TypeId) + struct_to_binary(request.RequestHeader) + request.parameters
        self.revolve_security_token()
        message = self._connection.message_to_binary(body, request_id=self._request_id + 1)
        self._request_id += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._callbackmap[self._request_id] = answer
        self.transport.write(message)
        return answer

    async def send_request(  # the same
        self,
        request: Any,  # noqa: ANN401
        timeout: float | None = None,
        message_type: ua.MessageType = ua.MessageType.SecureMessage,  # type: ignore[assignment]
    ) -> Any:  # noqa: ANN401
        with _plain_cancellation():
            return await super().send_request(request, timeout, message_type)

    async def send_hello(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401
        with _plain_cancellation():
            return await super().send_hello(*args, **more)

    async def open_secure_channel(self, params: Any) -> Any:  # noqa: ANN401
        with _plain_cancellation():
            return await super().open_secure_channel(params)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        plain = cast(asyncio.Transport, transport)  # uvloop's is one in all but descent
        super().connection_made(plain if self._tap is None else TappedTransport(plain, self._tap))

    def data_received(self, data: bytes) -> None:
        if self._tap is not None:
            for chunk in self._received.feed(data):
                self._tap(False, chunk)
        super().data_received(data)
