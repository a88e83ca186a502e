"""A cluster of Ray: joined, or begun on this machine for one run; and what its machines must have."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from dtir.core.atomic import require_writable_folder
from dtir.core.errors import ConfigError, DtirError, LibraryError
from dtir.core.extras import missing_extra
from dtir.version import __version__

logger = logging.getLogger(__name__)

SECONDS_TO_CONNECT = 5
# A worker that answers nothing for so long, where the question costs no processor, is on a machine that is gone.
SECONDS_TO_ANSWER = 60


@dataclass(frozen=True)
class Cluster:
    """Which cluster.

    Args:
        address: HOST:PORT of its head, or "auto" for the one that runs on this machine; None is that of $RAY_ADDRESS,
            or the one on this machine, or, where there is neither, one of this machine alone that ends with the run.
        dashboard: Shows Ray's page about the run; of a cluster that is joined, it is the one that it was begun with.

    Raises:
        ConfigError: The address is none.
    """

    address: str | None = None
    dashboard: bool = False

    def __post_init__(self) -> None:
        if self.address not in (None, "auto"):
            self._host_and_port()

    def check(self) -> None:
        """Finds out in seconds whether anything answers, where Ray would try for minutes.

        Raises:
            LibraryError: Ray, or what its dashboard needs, is not installed.
            ConfigError: Nothing answers.
        """
        if not find_spec("ray"):
            raise missing_extra("a cluster", "ray", "no module 'ray'")
        if self.dashboard and not find_spec("aiohttp_cors"):
            raise LibraryError("Ray's dashboard needs: pip install 'ray[default]'; or leave the dashboard out.")
        if self.address in (None, "auto"):
            return
        try:
            socket.create_connection(self._host_and_port(), SECONDS_TO_CONNECT).close()
        except OSError as error:
            raise ConfigError(
                f"no Ray cluster answers at {self.address} ({error.strerror or error}). Begin one with `ray start "
                "--head` on its first machine, which prints the address, or check that its port is open from here."
            ) from error

    def _host_and_port(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or "/" in host:
            raise ConfigError(
                f"'{self.address}' is no address of a Ray cluster, which is HOST:PORT, such as 10.0.0.1:6379, or auto; "
                "--ray without one comes after the inputs."
            )
        return host.strip("[]"), int(port)


class Room(NamedTuple):
    """What the workers get.

    Attributes:
        workers: Their number.
        cores: For each.
        gpu: Whether each has a GPU of its own.
    """

    workers: int
    cores: int
    gpu: bool


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[ModuleType]:
    """The module `ray`, connected; a connection that was there before stays.

    Raises:
        LibraryError: Ray is not installed.
        ConfigError: The cluster cannot be reached or begun.
    """
    cluster.check()
    import ray
    import ray.data

    if ray.is_initialized():
        yield ray
        return
    # The report says what became of the pictures of a worker that was ended; Ray's files keep all else.
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
    # Of a cluster that begins here; nothing of a run is told to anybody.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        context = ray.init(
            address=cluster.address,
            include_dashboard=cluster.dashboard if cluster.address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises no narrower one where a part of it does not begin in time.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = f"at {cluster.address}" if cluster.address else "on this machine"
        raise ConfigError(
            f"the Ray cluster {where} cannot be used: {reason} This machine must be one of the cluster's (`ray start "
            "--address=HOST:PORT`), with the same versions of Ray and Python, and its token."
        ) from error
    if cluster.dashboard and context.dashboard_url:
        logger.warning("Ray's dashboard: %s", context.dashboard_url)
    try:
        yield ray
    finally:
        ray.shutdown()


def room(ray: ModuleType, workers: int | None, device: str | None) -> Room:
    """How the cluster is shared out.

    Args:
        ray: Connected.
        workers: As many as are wished; None is all there is room for.
        device: That is wished; None takes GPUs where the cluster has any.

    Raises:
        ConfigError: GPUs are wished and there are none.
    """
    has = ray.cluster_resources()
    gpus, cores = int(has.get("GPU", 0)), int(has.get("CPU", 1))
    gpu = gpus > 0 if device is None else device != "cpu"
    if gpu and not gpus:
        raise ConfigError(f"the cluster has no GPU for the device {device}; leave it out, or add machines that have.")
    number = workers or (gpus if gpu else cores)
    largest = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes() if node["Alive"])
    return Room(number, 1 if gpu else max(1, min(cores // number, largest)), gpu)


def check_machines(ray: ModuleType, needed: Sequence[Path], out_dir: Path) -> None:
    """Asks every machine of the cluster whether it has what the work needs.

    Args:
        ray: Connected.
        needed: Files that each must see under the same path.
        out_dir: Folder that each must see, and be able to write to.

    Raises:
        ConfigError: One lacks something; the message names both.
    """
    require_writable_folder(out_dir, "the output folder")
    # Another folder of the same name does not have this file.
    mark = out_dir / f".dtir.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    mark.touch()
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(what_is_missing)
        asked = {
            ask.options(scheduling_strategy=_on(ray, node)).remote(list(needed), out_dir, mark): node
            for node in ray.nodes()
            if node["Alive"]
        }
        for answer, node in asked.items():
            missing = _answer(ray, answer)
            if missing:
                raise ConfigError(f"the machine {node['NodeManagerAddress']} of the cluster {missing}")
    finally:
        mark.unlink(missing_ok=True)


def what_is_missing(needed: Sequence[Path], out_dir: Path, mark: Path) -> str:
    """What the machine on which it is called lacks, in words; or "". See `check_machines`."""
    for path in needed:
        if not path.exists():
            return f"does not see '{path}'; the inputs and the model must lie where all machines see them alike."
    if not mark.exists():
        return f"does not see the output folder '{out_dir}'; name one that all machines share."
    try:
        require_writable_folder(out_dir, "the output folder")
    except DtirError as error:
        return f"cannot write: {error}"
    return ""


def _on(ray: ModuleType, node: dict) -> object:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)


def _answer(ray: ModuleType, answer: object) -> str:
    try:
        return ray.get(answer, timeout=SECONDS_TO_ANSWER)
    except ray.exceptions.GetTimeoutError:
        return f"does not answer within {SECONDS_TO_ANSWER} seconds; take it out of the cluster."
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        return f"cannot run dtir ({last}); it needs dtir {__version__} with what it needs."
