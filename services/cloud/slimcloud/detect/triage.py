"""The first rung: is anything of interest in the picture? Judged on the narrowest latent.

    presence < threshold ─► QUIET      answered at once: no detector, no more bytes
    else                 ─► DETECT     from what the camera has sent
                         or ENHANCE    first ask the camera for the channels that it left out

With `enhance` cameras are told (Welcome) to send the narrowest level unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from slimcloud.settings import CloudSettings, split_labels
from slimcodec.decode import Latent
from slimcodec.errors import ModelError
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimdetect.triage import TriageSession, class_ids_of


class Verdict(Enum):
    QUIET = auto()
    DETECT = auto()
    ENHANCE = auto()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to become of a frame. `presence` is None where triage could not look."""

    verdict: Verdict
    presence: float | None


@dataclass(frozen=True)
class TriagePolicy:
    """
    Args:
        session: the codec's head.
        class_ids: what is of interest.
        threshold: presence below it is quiet, 0 to 1.
        level: that is asked for; None = detect from what was sent.
        is_nested: a wider stream begins with the narrowest latent.
    """

    session: TriageSession
    class_ids: tuple[int, ...]
    threshold: float
    level: int | None
    is_nested: bool

    def judge(self, latents: Sequence[Latent]) -> list[Judgement]:
        """What is to become of the frame of each latent."""
        judged = [Judgement(Verdict.DETECT, None)] * len(latents)
        seen = [i for i, latent in enumerate(latents) if self.is_nested or latent.level == 0]
        presences = self.session.presence([latents[i] for i in seen], self.class_ids)
        for i, presence in zip(seen, presences, strict=True):
            judged[i] = Judgement(self._verdict(latents[i].level, presence), presence)
        return judged

    def _verdict(self, level: int, presence: float) -> Verdict:
        if presence < self.threshold:
            return Verdict.QUIET
        if self.level is not None and level < self.level:
            return Verdict.ENHANCE
        return Verdict.DETECT


def build_triage(
    settings: CloudSettings, codec: CodecArtifact, names: Sequence[str], runtime: Runtime
) -> TriagePolicy | None:
    """The policy that the settings ask for; None when triage is off.

    Raises:
        ModelError: the codec has no triage head or no such level, or the detector no such label.
    """
    if settings.triage == "off":
        return None
    session = TriageSession(codec, runtime)
    level = None
    if settings.triage == "enhance":
        level = codec.widest_level if settings.triage_level is None else settings.triage_level
        if not 0 < level <= codec.widest_level:
            raise ModelError(
                f"triage asks for enhancements up to level {level}; codec {codec.label} has levels "
                f"0..{codec.widest_level}; set triage_level, or triage to detect"
            )
    labels = split_labels(settings.triage_labels)
    chosen = settings.triage_threshold
    return TriagePolicy(
        session=session,
        class_ids=tuple(class_ids_of(labels or session.spec.labels, names)),
        threshold=session.spec.threshold if chosen is None else chosen,
        level=level,
        is_nested=codec.manifest.streams == "nested",
    )
