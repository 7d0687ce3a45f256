"""The playbook section of the server."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from tradewind.settings import Section

Role = Literal["read", "trade", "admin"]
"""Who may look, who may also stop trading and let it go on, who may do everything. Each may what those before may."""

ROLES: tuple[Role, ...] = ("read", "trade", "admin")


class ServerSettings(Section):
    """Where the server listens, whom it lets in, and how much it takes from anyone."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; beyond loopback needs tokens")
    port: int = Field(8321, ge=0, le=65535, description="port to listen on; 0: any free one")
    token_variables: Mapping[Role, str] = Field(
        {"read": "TRADEWIND_READ_TOKEN", "trade": "TRADEWIND_TRADE_TOKEN", "admin": "TRADEWIND_ADMIN_TOKEN"},
        description="environment variables that hold a token of each role; those named here must be set",
    )
    token_file: str | None = Field(
        None, description="file with a line `ROLE NAME SHA256` for each token, mode 0600; empty: none"
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="other origins whose pages may ask, such as https://desk.example.org; empty: only our own page"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="names that the server answers to; empty: loopback's own on loopback, any name elsewhere"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses of proxies whose X-Forwarded-For and -Proto are believed"
    )
    behind_tls: bool = Field(False, description="true where a proxy speaks TLS for it: browsers are told to insist")
    requests_per_second: float = Field(50, gt=0, description="requests of one token or address in the long run")
    request_burst: int = Field(300, ge=1, description="requests of one token or address at once")
    largest_body_bytes: int = Field(65_536, ge=1_024, le=16_777_216, description="largest request that is read")
    sockets: int = Field(500, ge=1, description="WebSocket clients at a time")
    socket_messages_per_second: float = Field(10, gt=0, description="messages of one WebSocket client in the long run")
    socket_message_burst: int = Field(50, ge=1, description="messages of one WebSocket client at once")
    largest_message_bytes: int = Field(16_384, ge=256, le=1_048_576, description="largest WebSocket message")
    waiting_events: int = Field(2_000, ge=10, description="events that may wait for one WebSocket client")
    heartbeat_seconds: float = Field(1.0, gt=0, le=5, description="time between signs of life on a WebSocket")
    send_timeout_seconds: float = Field(10.0, gt=0, description="how long a WebSocket client may be stuck")
    sign_in_seconds: float = Field(5.0, gt=0, description="how long a WebSocket client may take to show its token")
    shutdown_seconds: float = Field(3.0, ge=0, description="how long open requests may take when the server stops")
    access_log: bool = Field(False, description="true: one log line for each request, without its query")
    manual_override: bool = Field(False, description="true: an admin may promote a model against the gate's evidence")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
