"""What the cloud told PERSISTED: facts until its store is another one, then a gap."""

from slimedge.frame import FrameHeader
from slimedge.gap import Gap, GapReason


class PersistedFrames:
    """The frames of one store, of every start of the edge as the gap that they would be."""

    def __init__(self) -> None:
        self._store_id = ""
        self._by_epoch: dict[int, Gap] = {}

    def add(self, epoch: int, header: FrameHeader, size_bytes: int) -> None:
        """The cloud has told a frame PERSISTED.

        Args:
            epoch: of the start that captured it, as on the wire: 0 = this one.
        """
        at, sequence = header.capture_time_unix, header.sequence
        gap = Gap(GapReason.STORE_LOST, at, at, 1, size_bytes, sequence, sequence, epoch)
        earlier = self._by_epoch.get(epoch)
        self._by_epoch[epoch] = earlier.join(gap) if earlier else gap

    def enter(self, store_id: str) -> list[Gap]:
        """A stream begins, into the store of this name; what is lost where it is another one.

        Args:
            store_id: empty: an older cloud does not say.
        """
        is_another = "" not in (self._store_id, store_id) and store_id != self._store_id
        self._store_id = store_id or self._store_id
        if not is_another:
            return []
        lost, self._by_epoch = list(self._by_epoch.values()), {}
        return lost
