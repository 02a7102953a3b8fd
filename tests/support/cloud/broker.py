"""A real MQTT broker."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

# None where it is not installed; Debian has it where only root looks
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class Broker:
    """Mosquitto on a port of its own, and what comes by under `#`."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"mqtt://cloud:p%40ss@127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = await asyncio.create_subprocess_exec(
            MOSQUITTO, "-c", str(self._config), stderr=asyncio.subprocess.DEVNULL
        )
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Queue[tuple[str, str]]]:
        """Topics and payloads, those that are retained first."""
        loop, heard = asyncio.get_running_loop(), asyncio.Queue[tuple[str, str]]()
        client = paho.Client(CallbackAPIVersion.VERSION2)

        def on_message(_: paho.Client, __: object, message: paho.MQTTMessage) -> None:
            told = message.topic, message.payload.decode()
            loop.call_soon_threadsafe(heard.put_nowait, told)

        def on_connect(client: paho.Client, *_: object) -> None:
            client.subscribe("#", qos=1)

        client.on_message, client.on_connect = on_message, on_connect
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            yield heard
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)
