"""Where a cloud process listens, and the file that says so (`CloudSettings.state_file`)."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from slimcodec.whole_file import write_whole
from slimops.address import without_passwords


@dataclass(frozen=True, slots=True)
class CloudAddresses:
    """Where a cloud process listens, as bound; None where it does not."""

    grpc: str | None = None  # host:port, for cameras
    http: str | None = None  # http://host:port or https://, the review API
    metrics: str | None = None  # http://host:port/metrics
    redis_url: str = ""
    pid: int = 0

    def write(self, path: Path) -> None:
        """Without passwords; who reads meanwhile finds all of it or nothing."""
        write_whole(path, without_passwords(json.dumps(asdict(self))) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text(encoding="utf-8")))
