"""How far the cloud has a recording, so that another start goes on from there.

The epoch follows from what is sent, and the sequence is the picture's place in it. So the cloud
knows a frame again that is sent twice, and no second one is stored.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from slimcodec.image import files_in
from slimedge.errors import CameraError
from slimedge.event import Acked, Captured, EdgeEvent, LossReason, Lost, Skipped, SkipReason, Stage
from slimedge.settings import EdgeSettings

_EPOCH_BYTES = 6  # below every epoch that is a time
_SETTINGS = (  # what makes frames others, or takes them elsewhere
    *("cloud_address", "camera_id", "model", "level", "quality", "max_level", "max_edge"),
    *("keep_damaged", "picture_fps"),
)


@dataclass(eq=False)
class Bookmark:
    """An observer that keeps the place up to which nothing is left to be sent, in a file."""

    path: Path
    epoch: int
    start_unix: float | None  # when the first picture was taken; None: as the file itself says
    frames: int = 0  # from the start, that the cloud has or will never take
    refused: int = 0  # of them, in this start: those that it will never take
    captured: int = 0  # from the start, those of earlier starts too
    total: int = 0  # pictures that there are, about; 0 = not known
    _beyond: set[int] = field(default_factory=set)  # those behind a frame that is on its way

    @classmethod
    def open(
        cls, folder: Path, settings: EdgeSettings, start_unix: float | None, *, again: bool = False
    ) -> Self:
        """The bookmark of a recording under its settings, as an earlier start left it.

        Args:
            again: Begin with the first picture all the same.

        Raises:
            CameraError: there is no such recording.
            OSError: `folder` cannot be written.
        """
        source = Path(settings.source).resolve()
        try:
            files = files_in(source) if source.is_dir() else [source]
            facts = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        except OSError as exc:
            raise CameraError(f"{settings.source}: {exc.strerror}") from exc
        chosen = [str(getattr(settings, name)) for name in _SETTINGS]
        identity = json.dumps([str(source), facts, chosen, start_unix])
        digest = hashlib.sha256(identity.encode()).digest()
        folder.mkdir(parents=True, exist_ok=True)
        epoch = int.from_bytes(digest[:_EPOCH_BYTES])
        bookmark = cls(folder / digest.hex()[:16], epoch, start_unix)
        if not again:
            with suppress(FileNotFoundError, ValueError):  # damaged: the cloud knows them again
                bookmark.frames = bookmark.captured = int(bookmark.path.read_text())
        bookmark._keep()
        return bookmark

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left of what was captured."""
        return self.frames >= self.captured

    def notify(self, event: EdgeEvent) -> None:
        match event:
            case Captured(frame=sequence):
                self.captured = sequence
            case Acked(stage=Stage.PERSISTED | Stage.DETECTED, sequence=sequence):
                self._pass(sequence)
            case (
                Lost(reason=LossReason.TOO_LARGE | LossReason.REFUSED, sequence=sequence)
                | Skipped(reason=SkipReason.ENCODE_FAILED, frame=sequence)
            ):
                self.refused += 1
                self._pass(sequence)

    def _pass(self, sequence: int) -> None:
        if sequence > self.frames:
            self._beyond.add(sequence)
        while self.frames + 1 in self._beyond:
            self.frames += 1
            self._beyond.remove(self.frames)
            with suppress(OSError):  # the disk is full: the next start sends more than it must
                self._keep()

    def _keep(self) -> None:
        """Write it down; a kill of the process leaves the old state or the new one."""
        partial = self.path.with_suffix(".part")
        partial.write_text(str(self.frames))
        partial.replace(self.path)
