"""`cir serve`: a page and a JSON API over a gallery."""

import os
import socket
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final

import uvicorn

from cir import arguments
from cir.artefacts.changes import changes_file
from cir.config import ServeConfig
from cir.disk.files import require_file
from cir.disk.locks import held
from cir.errors import UsageError
from cir.machine.runtime import pick_device
from cir.search.index import SearchIndex
from cir.search.open_index import Opened, open_indexes
from cir.search.opening import find_store, gallery_index
from cir.serving.app import create_app
from cir.serving.engine import Engine, Served
from pipeline.screen import console

_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
"""Names of this machine, as a request spells them."""
_TOKEN: Final = "CIR_TOKEN"  # noqa: S105 - the name of an environment variable
_SHORTEST_TOKEN: Final = 16
_GRACE_SECONDS: Final = 30
"""How long requests under way are waited for when the server is told to stop."""


def run(config: ServeConfig) -> None:
    """Serves until a signal stops it; requests under way are finished.

    Raises:
        UsageError: another server adds photos to the gallery and removes them.
    """
    arguments.instance("config", config, ServeConfig)
    token = _token(config)
    with _as_writer(config):
        _serve(config, token)


def _as_writer(config: ServeConfig) -> AbstractContextManager[None]:
    """Lets no other server add and remove photos of the gallery, where this one may.

    It is held before the gallery is read, so that nothing is added by another in between.
    """
    if not config.writable:
        return nullcontext()
    store = find_store(config.run, config.store, config.dataset)
    return held(changes_file(store), field="store")


def _serve(config: ServeConfig, token: str | None) -> None:
    runs = [each for each in (config.run, config.other) if each is not None]
    opened = open_indexes(
        runs,
        config.store,
        dataset=config.dataset,
        weights=config.weights,
        device=pick_device(config.device),
        index=gallery_index(config.index),
        progress=console.RichProgress(),
    )
    console.refreshed(opened.folder_changes, opened.left_out)
    opened.plain.prepare_for_many()
    gallery = opened.plain.gallery
    if gallery.proposing is not None:
        console.note(f"index: {gallery.proposing.name} {gallery.proposing.recall}")
    engine = Engine(_served(opened), opened.source.dataset, opened.living)
    app = create_app(engine, queue=config.queue, token=token, hosts=_hosts(config))
    with _bound(config) as taken:
        address = _address(config, taken.getsockname()[1])
        console.note(f"{len(engine.gallery):,} photos of {opened.source.store}: {address}")
        settings = uvicorn.Config(
            app,
            log_level="warning",
            use_colors=console.is_terminal(),
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        with suppress(KeyboardInterrupt):  # a signal, once requests under way are finished
            uvicorn.Server(settings).run(sockets=[taken])


def _bound(config: ServeConfig) -> socket.socket:
    """The socket at the address; raises UsageError where it cannot be had."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as fault:
        raise UsageError(
            f"{fault.strerror or fault}: pass another `host` or `port`; `port=0` takes a free one"
        ) from fault


def _served(opened: Opened) -> list[Served]:
    """The runs, then the plain sum, each under its name."""
    single = len(opened.trained) == 1
    runs = [
        Served(f"run-{number}" if not single else "run", _title(index), True, index)
        for number, index in enumerate(opened.trained, start=1)
    ]
    plain = "before training: plain sum" if runs else "plain sum"
    return [*runs, Served("sum", plain, False, opened.plain)]


def _title(index: SearchIndex) -> str:
    checkpoint = index.retriever.checkpoint
    if checkpoint is None:
        return "plain sum"
    metadata = checkpoint.metadata
    return f"after training: {metadata.combiner}, epoch {metadata.epoch}"


def _hosts(config: ServeConfig) -> tuple[str, ...]:
    """The names that requests may be addressed to."""
    if config.host in ("127.0.0.1", "::1", "localhost"):
        return (*_LOCAL, *config.hostname)
    return config.hostname or ("*",)


def _address(config: ServeConfig, port: int) -> str:
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"http://{host}:{port}"


def _token(config: ServeConfig) -> str | None:
    """What requests that add or remove must carry; raises UsageError where it is too short."""
    if not config.writable:
        return None
    token = os.environ.get(_TOKEN, "")
    if config.token_file:
        require_file(config.token_file, UsageError, f"no token file at {config.token_file}")
        held = config.token_file.read_bytes().decode("utf-8", "replace")
        token = next(iter(held.splitlines()), "").strip()
    if len(token) < _SHORTEST_TOKEN or not token.isascii():
        raise UsageError(
            f"`writable` takes a token of {_SHORTEST_TOKEN} ASCII characters or more: put it into "
            f"{_TOKEN}, or into the first line of a file that `token_file` names"
        )
    return token
