"""A whole system of processes that can be killed: an edge with a spool, a cloud, and its Redis.

With the toy models of the tests. What happens to the edge is in a file of each of its starts.
"""

import asyncio
import json
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from bench.chaos import child
from bench.chaos.account import Account, settle, take_account
from bench.chaos.rig import free_port, metrics
from slimops.storage.embedded_redis import find_redis_server
from support.cloud.whole_cloud import ToyModels
from support.models.toy_artifact import make_image

FPS = "5"
PICTURES = 4
SETTLE_SECONDS = 300.0

Process: TypeAlias = ForkServerProcess | subprocess.Popen[bytes]  # both can be killed


class System:
    """Processes by name, each of which can be killed and started again on the same data.

    Args:
        folder: For all data; a short path, for Redis' socket.
        fsync: `everysec` or `always`.
        whole: The cloud is one process, `all`, with a Redis of its own; else `redis`, `ingest` and
            `detect` are three.
        image_hw: Of the pictures.
        edge: More settings of it.
        redis: More of the environment of a Redis of its own.
    """

    def __init__(
        self,
        folder: Path,
        fsync: str = "everysec",
        *,
        whole: bool,
        image_hw: tuple[int, int] = (48, 64),
        edge: Mapping[str, str] | None = None,
        redis: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._fsync, self._edge_settings = folder, fsync, edge or {}
        self._redis_environment = {**os.environ, **(redis or {})}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([child.__name__, "openvino"])
        self.models = ToyModels(folder / "models", prior="context")  # as of what ships
        pictures = folder / "pictures"
        pictures.mkdir()
        scene, other = (make_image(*image_hw, seed=seed) for seed in range(2))
        for index in range(PICTURES):  # a part of the scene changes, another each time
            shown = scene.copy()
            half, left = image_hw[0] // 2, index * image_hw[1] // PICTURES
            shown[:half, left : left + 16] = other[:half, left : left + 16]
            Image.fromarray(shown).save(pictures / f"{index}.png")
        (folder / "redis").mkdir(exist_ok=True)
        self._port, self._http, self._probes = free_port(), free_port(), free_port()
        self._running: dict[str, Process] = {}
        self._starts: dict[str, Callable[[], Process]] = (
            {"all": lambda: self._cloud("all")}
            if whole
            else {
                "redis": self._redis,
                "ingest": lambda: self._cloud("ingest"),
                "detect": lambda: self._cloud("detect"),
            }
        )
        self._starts["edge"] = self._edge

    @property
    def cloud_address(self) -> str:
        """Where it takes frames, host:port."""
        return f"127.0.0.1:{self._port}"

    @property
    def redis_url(self) -> str:
        """Where the store is now."""
        if "all" in self._starts:
            url: str = json.loads((self._folder / "all.json").read_text())["redis_url"]
            return url
        return f"unix://{self._folder}/redis.sock"

    @property
    def logs(self) -> list[Path]:
        return sorted(self._folder.glob("edge-*.events"))

    def account(self) -> Account:
        """Send the rest, stop the edge, and compare."""
        self._send_the_rest()
        spool = self._folder / "spool/camera.spool"
        return asyncio.run(take_account(self.logs, spool, self.redis_url))

    def start_all(self) -> None:
        """Return when frames arrive."""
        for name in self._starts:
            self.start(name)
        self.await_edge(lambda seen: seen.get("slim_edge_frames_sent_total", 0) > 0)

    def add_detect(self, name: str) -> None:
        """One more process of that role, beside three; it is to be started."""
        self._starts[name] = lambda: self._cloud("detect", name)

    def start(self, name: str) -> None:
        self._running[name] = self._starts[name]()

    def kill(self, name: str) -> bool:
        """kill -9; whether it lived until then."""
        process = self._running[name]
        if (code := _code(process)) is not None:
            print(f"{name} had ended with {code}")
        process.kill()
        _wait(process)
        return code is None

    def _send_the_rest(self) -> None:
        """Wait for the spool and the queue, stop the edge in order, and wait again."""
        self.await_edge(lambda seen: seen.get("slim_edge_link_up") == 1)
        self.await_edge(lambda seen: seen.get("slim_edge_spool_frames") == 0)
        edge = self._running["edge"]
        edge.terminate()
        _wait(edge)
        asyncio.run(settle(self.redis_url, SETTLE_SECONDS))

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            _wait(process)

    def errors(self) -> int:
        """Lines at ERROR in any log."""
        return sum(path.read_text().count('"ERROR"') for path in self._folder.glob("*.log"))

    def await_edge(self, wanted: Callable[[dict[str, float]], bool]) -> None:
        """Wait for what the edge's metrics say; not for ever."""
        give_up = time.monotonic() + SETTLE_SECONDS
        while not wanted(self.edge_metrics()):
            if time.monotonic() > give_up:
                print("waited in vain")
                return
            time.sleep(0.5)

    def edge_metrics(self) -> dict[str, float]:
        """Empty while it does not answer."""
        return metrics(f"http://127.0.0.1:{self._probes}")

    def ended(self) -> list[str]:
        """Processes that ended by themselves."""
        return [name for name, process in self._running.items() if _code(process) is not None]

    def _redis(self) -> Process:
        options = {
            "port": "0",
            "unixsocket": f"{self._folder}/redis.sock",
            "dir": f"{self._folder}/redis",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "maxmemory": str(2**28),
            "maxmemory-policy": "noeviction",
        }
        words = [part for name, value in options.items() for part in (f"--{name}", value)]
        with (self._folder / "redis.txt").open("ab") as log:
            return subprocess.Popen(
                [find_redis_server(), *words], stdout=log, stderr=log, env=self._redis_environment
            )

    def _cloud(self, role: str, name: str = "") -> Process:
        state = self._folder / f"{name or role}.json"
        settings = {
            **self._models("CLOUD"),
            "CLOUD_ROLE": role,
            "CLOUD_GRPC_PORT": str(self._port),
            "CLOUD_HTTP_PORT": str(self._http),
            "CLOUD_STATE_FILE": str(state),
            "CLOUD_DETECTOR_THREADS": "1",
            "CLOUD_RECLAIM_IDLE_SECONDS": "3",
            "CLOUD_LOG_FORMAT": "json",
        }
        if role == "all":
            durability = "always" if self._fsync == "always" else "second"
            settings |= {"CLOUD_DATA": f"{self._folder}/data", "CLOUD_DURABILITY": durability}
        else:
            settings["CLOUD_REDIS_URL"] = self.redis_url
        return self._forked(child.cloud, settings, self._folder / f"{role}.log")

    def _edge(self) -> Process:
        settings = {
            **self._models("EDGE"),
            "EDGE_HTTP_PORT": str(self._probes),
            "EDGE_SOURCE": f"{self._folder}/pictures",
            "EDGE_LOOP": "true",
            "EDGE_PICTURE_FPS": FPS,
            "EDGE_SPOOL_FPS": FPS,
            "EDGE_SPOOL_FOLDER": f"{self._folder}/spool",
            "EDGE_CACHE_FOLDER": f"{self._folder}/cache",
            "EDGE_CLOUD_ADDRESS": self.cloud_address,
            "EDGE_ENCODER_THREADS": "1",
            "EDGE_RECONNECT_MAX_SECONDS": "2",
            "EDGE_DEADLINE_SECONDS": "60",
            "EDGE_EXPIRE_SECONDS": "600",
            **self._edge_settings,
        }
        events = self._folder / f"edge-{time.time_ns()}.events"
        return self._forked(child.edge, settings, self._folder / "edge.log", events)

    def _forked(self, target: Callable[..., None], *words: object) -> Process:
        process = self._context.Process(target=target, args=words)
        process.start()
        return process

    def _models(self, prefix: str) -> dict[str, str]:
        return {f"{prefix}_MODEL": "toy", f"{prefix}_MODELS_ROOT": f"{self._folder}/models"}


def _code(process: Process) -> int | None:
    """How it ended; None while it runs."""
    return process.exitcode if isinstance(process, ForkServerProcess) else process.poll()


def _wait(process: Process) -> None:
    if isinstance(process, ForkServerProcess):
        process.join()
    else:
        process.wait()
