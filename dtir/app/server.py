"""Serving the page: what the browser may load, and until when. Importing it needs Gradio."""

import contextlib
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import fastapi
import gradio as gr
import uvicorn

from dtir.apis.inferencer import RestorationInferencer
from dtir.app.address import listen, url_of
from dtir.app.page import Page
from dtir.app.pictures import Limits
from dtir.app.workplace import workplace
from dtir.core.assets import ASSETS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STYLE = ASSETS / "app" / "style.css"
# What the browser loads comes from the page's own server; Gradio's templates are evaluated in the browser.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'"
)
# Seconds that answers under way are waited for at the end.
_PATIENCE = 2


def serve(inferencer: RestorationInferencer, address: socket.socket, limits: Limits, in_browser: bool = False) -> None:
    """Serves the page until the process is asked to end.

    Args:
        inferencer: Restores.
        address: See `listen`.
        limits: What is taken of one file.
        in_browser: Opens the page in the browser of this machine.
    """
    with workplace() as folder:
        server = PageServer(Page(inferencer, limits, folder))
        url = url_of(address)
        print(f"{url}  (Ctrl-C ends the page)", flush=True)
        if in_browser:
            webbrowser.open(url)
        with _ended_by_sigterm(), contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[address])


@contextlib.contextmanager
def served(page: Page) -> Iterator[str]:
    """Serves a page beside the caller while the block lasts; yields where."""
    with listen("127.0.0.1", 0) as address:
        server = PageServer(page)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [address]})
        thread.start()
        try:
            yield url_of(address)
        finally:
            server.should_exit = True
            thread.join()


class PageServer(uvicorn.Server):
    """A server of a page.

    Args:
        page: The page.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        app = fastapi.FastAPI(openapi_url=None)
        app.add_middleware(OwnContentOnly)
        gr.mount_gradio_app(
            app,
            page.blocks,
            path="/",
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            show_error=False,
            css_paths=STYLE,
            max_file_size=page.limits.bytes,
        )
        super().__init__(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_PATIENCE))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends what is in work, and the connections on which open pages wait for news, as if they had been left."""
        self.page.end()
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await super().shutdown(sockets)


class OwnContentOnly:
    """Tells the browser to load nothing from elsewhere, whatever the page names.

    Args:
        app: The ASGI application that answers.
    """

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers, with the header in the answer."""

        async def send_with_policy(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", _POLICY.encode())]
            await send(message)

        await self.app(scope, receive, send_with_policy)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the block as an interruption does, so that what follows it is done."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
