"""Photos encoded by actors of a Ray cluster, as a Ray Data job (extra `cir[ray]`).

An actor gets some batches at a time, cut as one process would cut them, and sends back what a store
keeps of each photo. The command that started the job saves that, so that machines of the cluster
need to reach the photos, and nothing else. Ray is imported when a job begins.
"""

import logging
import os
import pickle
import signal
import socket
import tempfile
import threading
import traceback
import warnings
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from cir.data.shards import real_photo
from cir.encoding.batching import images_at_once
from cir.encoding.embedding import spans_of
from cir.encoding.encoder import Encoder
from cir.encoding.job.libraries import versions
from cir.encoding.job.photo_batches import EncodedBatch, PhotosToEncode, encoded_batches
from cir.errors import CirError, UsageError, one_line
from cir.machine.runtime import pick_device
from cir.machine.workers import usable_cores

ADDRESS: Final = "RAY_ADDRESS"
"""Ray's own environment variable for the cluster that a program joins."""
_ON_GPU: Final = 16
"""Batches that an actor with a GPU gets at a time: its workers read ahead within them."""
_MOST_TASKS: Final = 10_000
"""Tasks of a job; one of more batches gives each actor more of them at a time."""
_RETRIES: Final = 3
"""How often an actor that died is started again, and what it did is done again."""

_ANSWER: Final = 10.0
"""Seconds within which a cluster answers."""
_CALM: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # of what happens to actors; the command says how it ends
}
"""Ray's environment variables, where nobody has set them."""


def require_ray() -> None:
    """Raises UsageError where Ray is not installed."""
    if find_spec("ray") is None:
        raise UsageError("`engine='ray'` needs Ray: pip install 'cir[ray]'")


@dataclass(frozen=True)
class RayEngine:
    """Encodes photos on a Ray cluster: that of RAY_ADDRESS, or one of this machine for the time."""

    actors: int | None = None
    """Processes that encode; by default one a GPU, or one a core where there is no GPU."""
    device: str = "auto"
    """auto takes GPUs where the cluster has any."""

    def encoded(
        self,
        encoder: Encoder,
        photos: PhotosToEncode,
        files: Sequence[Path],
        *,
        batch_size: int,
        workers: int,
    ) -> Generator[EncodedBatch, None, None]:
        """As `cir.encoding.job.photo_batches.encoded_batches`, batches in the order of their ends.

        Args:
            encoder: Sent to every actor.
            photos: What to encode.
            files: The file of each, which every machine of the cluster reaches.
            batch_size: Photos encoded at once, at most.
            workers: Processes that decode beside an actor that has a GPU.

        Raises:
            UsageError: Ray is not installed, or the cluster has no core or GPU to encode on.
            CirError: the cluster cannot be joined, an actor was lost, or its libraries differ.
            VectorError: the encoder gave a vector without direction.
        """
        if not files:
            return
        require_ray()
        with _cluster(self.actors) as resources:
            pool = _Pool.of(resources, self.actors, self.device)
            rows = batch_size if pool.gpus else images_at_once(encoder, batch_size)
            how = _How(pool.device, rows, workers if pool.gpus else 0, versions())
            tasks = _tasks(photos, files, rows, _ON_GPU if pool.gpus else 1)
            yield from _run(encoder, pool, how, tasks)


@dataclass(frozen=True)
class _Pool:
    """The actors of a job."""

    actors: int
    gpus: bool
    """Whether each has a GPU of its own."""
    device: str

    @classmethod
    def of(cls, resources: Mapping[str, float], actors: int | None, device: str) -> "_Pool":
        """As many as were asked for, on GPUs where these are.

        Raises:
            UsageError: not one of them could ever start.
        """
        cores, cards = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        gpus = device == "cuda" or (device == "auto" and cards > 0)
        if not cores or (gpus and not cards):
            raise UsageError(
                f"the Ray cluster has {cores} cores and {cards} GPUs; expected at least one "
                f"{'of each' if gpus else 'core'}: start workers, or pass another `device`"
            )
        there = "cuda" if gpus else "cpu" if device == "auto" else device
        return cls(actors or (cards if gpus else cores), gpus, there)


@dataclass(frozen=True)
class _How:
    """How an actor encodes."""

    device: str
    rows: int
    """Photos a batch."""
    workers: int
    """Processes that decode."""
    libraries: Mapping[str, str]
    """Versions that vectors depend on, which are to be those of the command."""


@dataclass(frozen=True, eq=False)
class _Task:
    """Some batches of photos."""

    photos: PhotosToEncode
    files: Sequence[Path]


class _Actor:
    """Encodes what it is given; what it raises it gives back, for the command to raise."""

    def __init__(self, shipped: Sequence[Any], how: _How) -> None:
        """Takes the encoder to its device.

        Args:
            shipped: Ray's reference to the encoder, in a list, so that Ray leaves it as it is.
            how: How to encode.
        """
        import ray

        self._how, self._fault = how, _other_libraries(how.libraries)
        if how.device == "cpu":
            torch.set_num_threads(1)  # an actor has one core
        if self._fault is None:
            encoder: Encoder = ray.get(shipped[0])
            self._encoder = encoder.copy_on(pick_device(how.device))

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """What became of each task, pickled."""
        tasks = map(pickle.loads, rows["item"])  # what the command pickled
        made = np.empty(len(rows["item"]), object)
        made[:] = [pickle.dumps(self._outcome(task)) for task in tasks]
        return {"made": made}

    def _outcome(self, task: _Task) -> list[EncodedBatch] | Exception:
        if self._fault is not None:
            return self._fault
        how = {"rows": self._how.rows, "workers": self._how.workers}
        try:
            return list(encoded_batches(self._encoder, task.photos, task.files, **how))
        except Exception as fault:  # noqa: BLE001 - the command raises it
            fault.add_note("".join(traceback.format_exception(fault)))
            return fault


def _other_libraries(expected: Mapping[str, str]) -> CirError | None:
    """What to say where versions that vectors depend on are others here than there."""
    here = versions()
    for name in sorted(expected.keys() | here.keys()):
        if here.get(name) != expected.get(name):
            return CirError(
                f"a machine of the Ray cluster has {name} {here.get(name)}, and this one "
                f"{expected.get(name)}: vectors of both would differ; install the same everywhere"
            )
    return None


def _tasks(photos: PhotosToEncode, files: Sequence[Path], rows: int, batches: int) -> list[_Task]:
    """The photos, some whole batches a task."""
    fewest = -(-len(files) // (rows * _MOST_TASKS))
    spans = spans_of(range(len(files)), rows * max(batches, fewest))
    parts = [slice(span.start, span.stop) for span in spans]
    # Machines of the cluster may have no folder of the dataset: they need the address alone.
    return [_Task(photos[part], list(map(real_photo, files[part]))) for part in parts]


def _run(
    encoder: Encoder, pool: _Pool, how: _How, tasks: Sequence[_Task]
) -> Generator[EncodedBatch, None, None]:
    """Runs the job; what it gives comes as soon as it is there."""
    import ray
    from ray.exceptions import RayError

    try:
        shipped = ray.put(encoder.copy_on(torch.device("cpu")))
        job = ray.data.from_items(
            [pickle.dumps(task) for task in tasks], override_num_blocks=len(tasks)
        ).map_batches(
            _Actor,
            fn_constructor_args=([shipped], how),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(pool.actors, len(tasks))),
            num_cpus=1,
            num_gpus=1 if pool.gpus else 0,
            max_restarts=_RETRIES,
            max_task_retries=_RETRIES,
        )
        for block in job.iter_batches(batch_size=None, prefetch_batches=0):
            for made in map(pickle.loads, block["made"]):  # what an actor pickled
                if isinstance(made, Exception):
                    raise made
                yield from made
    except RayError as fault:
        raise CirError(
            f"an actor of the Ray job failed ({_cause(fault)}): see that every machine has this "
            f"version of cir and enough memory, or pass fewer `actors`"
        ) from fault


def _cause(fault: BaseException) -> str:
    """What an actor raised, without what Ray says around it."""
    from ray.data.exceptions import SystemException

    while inner := getattr(fault, "cause", None) or fault.__cause__:
        if isinstance(inner, SystemException):  # says of a fault that it is no user's
            break
        fault = inner
    return f"{type(fault).__name__}: {one_line(fault)}"


# --------------------------------------------------------------------------------- the cluster


@contextmanager
def _cluster(actors: int | None) -> Iterator[Mapping[str, float]]:
    """Joins a cluster, or starts one here that ends with the block; its resources.

    A program that has joined one itself stays in it.
    """
    if ADDRESS in os.environ:
        _require_answer(os.environ[ADDRESS])
    os.environ.update(_CALM | os.environ)
    with _quiet():
        import ray
        import ray.data

    # Anew: to be imported, Ray puts filters of its own before those that are there.
    with _quiet():
        _silence()
        if ray.is_initialized():
            yield ray.cluster_resources()
            return
        with tempfile.TemporaryDirectory(prefix="cir-ray-", ignore_cleanup_errors=True) as folder:
            before = _descendants(os.getpid())
            try:
                _begin(actors, folder)
                yield ray.cluster_resources()
            finally:
                started = _descendants(os.getpid()) - before
                ray.shutdown()
                _end(started)


def _begin(actors: int | None, folder: str) -> None:
    """Joins the cluster of RAY_ADDRESS, or starts one on this machine.

    Raises:
        CirError: it does not answer.
    """
    import ray

    address = os.environ.get(ADDRESS)
    if address is None:
        here = {"num_cpus": max(actors or 0, usable_cores()), "include_dashboard": False}
        own = {"address": "local", "_temp_dir": folder, **here}
    else:
        own = {"address": address}
    try:
        with _own_handlers(), _hushed():
            ray.init(**own, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as fault:
        where = f"join the Ray cluster at {address} ({ADDRESS})" if address else "start Ray"
        raise CirError(f"cannot {where}: {one_line(fault)}") from fault


def _require_answer(address: str) -> None:
    """Raises CirError where nothing answers at `host:port`; Ray would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():
        return  # a name of Ray's, as `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
    except (OSError, OverflowError) as fault:
        raise CirError(
            f"no Ray cluster answers at {address} ({one_line(fault)}): correct {ADDRESS}, or unset "
            f"it to encode on this machine"
        ) from fault


def _silence() -> None:
    """Lets the command alone say what goes on."""
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray warns of its own code, about which a user of cir can do nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _hushed() -> Iterator[None]:
    """Ray's libraries write to the terminal how they begin, and where a signal met them."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _descendants(process: int) -> set[int]:
    """The processes that a process has started, and those that these have; Linux tells them."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = status.read_text(errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(status.parent.name))
    found, left = set[int](), [process]
    while left:
        left += (more := children.get(left.pop(), []))
        found |= set(more)
    return found


def _end(processes: Collection[int]) -> None:
    """Ends what is left of a cluster: actors would notice within seconds that it is gone."""
    for process in processes:
        with suppress(OSError):
            if b"ray" in Path(f"/proc/{process}/cmdline").read_bytes():
                os.kill(process, signal.SIGKILL)


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keeps the program's handler of SIGTERM, in whose place Ray puts one that ends the program.

    A signal that Ray's heard is given to the program's own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own, told = signal.getsignal(signal.SIGTERM), False
    try:
        yield
    except SystemExit:
        told = True
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, own)
    if told:
        signal.raise_signal(signal.SIGTERM)
