"""What a video is sent with: one of our models, a video codec of others, or each frame as a file.

    Clip, frames that are lost -send-> CodedFrame of each: its bytes, and the boxes that arrive

A `VideoPoint` is one row to be. Whoever has another way to send a clip writes another `send`: all
that is scored and drawn is in the frames that it gives. `send` gets every loss at once, for what
does not depend on it is coded once. Ours is `slimcodec.sequence`, which learns what became of a
frame before the next one.

x264 and x265 have one thread, no B frames (`zerolatency`) and keys at fixed distances alone; their
bytes are those of the packets, without the SEI in which x264 names itself (0.6 kB). Where packets
are lost the decoder goes on with what comes, and shows what it knows to be damaged; where it gives
no picture, the last one stands.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from slimcodec.sequence import SequenceDecoder, SequenceEncoder
from slimdetect.scores import Wanted
from slimtrain.evaluation.baseline import Baseline
from slimtrain.evaluation.operating_point import ReferenceDetector, ServedCodec
from slimtrain.evaluation.video import CLASSES, Clip, Image
from slimtrain.figures.mean_average_precision import ScoredBoxes

# Raw scores: from 0.001 on, as still pictures have them, detection takes twice the time.
WANTED = Wanted(0.05, CLASSES, raw=True)
FINE_KEY_QUALITY, REFINE_SECONDS = 4.0, 2.0  # of keys at the widest level, and what gets there
CONSTANT_RATE_FACTORS = range(26, 51, 4)  # x264 and x265: down to where boxes are lost
_ALONE = "pools=none:frame-threads=1:wpp=0:info=0:log-level=none"  # x265: one thread, no SEI
_X264_NAMES_ITSELF = re.compile(rb"\0{2,3}\x01\x06.*?(?=\0{2,3}\x01|\Z)", re.DOTALL)  # NAL type 6

Lost = NDArray[np.bool_]  # (frames,) whether a frame is lost on its way


@dataclass(frozen=True, eq=False)
class CodedFrame:
    """One frame as it went out, and what arrived of it."""

    num_bytes: int
    is_key: bool  # whether it can be decoded alone
    encode_seconds: float  # processor time
    boxes: ScoredBoxes | None  # of `CLASSES`, raw scores; None: it was lost
    changed: float | None = None  # part of its places that it codes, where the coder knows that


Send = Callable[[Clip, Sequence[Lost]], list[list[CodedFrame]]]  # the frames of each loss


@dataclass(frozen=True)
class VideoPoint:
    """One row to be."""

    coder: str
    quality: float  # in the coder's own scale
    setting: str  # everything that decides the results
    send: Send
    level: int | None = None  # None: the coder has no levels
    key_seconds: float | None = None  # from key to key; None: every frame is one
    fine_keys: bool = False

    @property
    def name(self) -> str:
        """As a file name: `x264-medium-q42-key60`, `slim-2-l0-q1`."""
        parts = [self.coder.replace("/", "-"), f"q{self.quality:g}"]
        if self.level is not None:
            parts.insert(1, f"l{self.level}")
        if self.key_seconds is not None:
            parts.append(f"{'fine' * self.fine_keys}key{self.key_seconds:g}")
        return "-".join(parts)


@dataclass(frozen=True, eq=False)
class Packet:
    """One frame of a stream."""

    data: bytes
    is_key: bool
    encode_seconds: float


@dataclass(frozen=True)
class StreamCodec:
    """A video codec of others, through FFmpeg."""

    name: str
    encoder: str
    decoder: str
    preset: str

    def options(self, quality: int, interval: int) -> dict[str, str]:
        """As its library takes them: one thread, a key each so many frames and nowhere else."""
        chosen = {"preset": self.preset, "tune": "zerolatency", "crf": str(quality)}
        if self.encoder == "libx264":
            keys = {"g": str(interval), "keyint_min": str(interval), "sc_threshold": "0"}
            return {**chosen, **keys, "threads": "1"}
        parameters = f"keyint={interval}:min-keyint={interval}:scenecut=0:open-gop=0:{_ALONE}"
        return {**chosen, "x265-params": parameters}


STREAM_CODECS = {  # by name, in the order of the report
    codec.name: codec
    for codec in (
        StreamCodec("x264-medium", "libx264", "h264", "medium"),
        StreamCodec("x264-veryfast", "libx264", "h264", "veryfast"),
        StreamCodec("x265-medium", "libx265", "hevc", "medium"),
        StreamCodec("x265-veryfast", "libx265", "hevc", "veryfast"),
    )
}


def key_frames(key_seconds: float, fps: float) -> int:
    """The frames from key to key, 1 or more."""
    return max(1, round(key_seconds * fps))


# what all are held against: the detector on the frames as they are
UNCOMPRESSED = Baseline(
    "uncompressed",
    (0,),
    "",
    lambda image, _: image.tobytes(),
    lambda raw, image_hw: np.frombuffer(raw, np.uint8).reshape(*image_hw, 3),
)


def still_point(codec: Baseline, quality: int, detector: ReferenceDetector) -> VideoPoint:
    """Each frame as a file of a classic codec, then the uncut detector."""

    def send(clip: Clip, losses: Sequence[Lost]) -> list[list[CodedFrame]]:
        sent: list[CodedFrame] = []
        for image in clip.images:
            started = time.process_time()
            bitstream = codec.encode(image, quality)
            seconds = time.process_time() - started
            boxes = _detect(detector, codec.decode(bitstream, (image.shape[0], image.shape[1])))
            sent.append(CodedFrame(len(bitstream), True, seconds, boxes))
        return [_without(sent, lost) for lost in losses]

    return VideoPoint(codec.name, quality, f"{codec.setting}; {detector.setting}", send)


def stream_point(
    codec: StreamCodec, quality: int, key_seconds: float, detector: ReferenceDetector
) -> VideoPoint:
    """A stream of a video codec, then the uncut detector on what its decoder shows."""
    setting = f"{codec} through PyAV {av.__version__}; {detector.setting}"
    send = partial(_send_stream, codec, quality, key_seconds, detector)
    return VideoPoint(codec.name, quality, setting, send, key_seconds=key_seconds)


def sequence_point(
    served: ServedCodec,
    level: int,
    quality: float,
    key_seconds: float | None = None,
    *,
    fine_keys: bool = False,
) -> VideoPoint:
    """One of our models at a level and quality, then the detector's tail.

    Args:
        key_seconds: with the context prior, from key to key; frames in between refer to what
            arrived. None: every frame alone.
        fine_keys: keys are at the widest level, and what stood still after a change gets there.
    """
    artifact = served.artifact
    finest = min(FINE_KEY_QUALITY, artifact.manifest.qualities - 1)
    key = (artifact.widest_level, finest, REFINE_SECONDS) if fine_keys else ()
    begin = partial(SequenceEncoder, served.encoder, level, quality, key_seconds or 0.0, *key)
    send = partial(_send_sequence, served, begin, key_seconds is not None)
    setting = f"{served.setting}; keys {key}"
    return VideoPoint(artifact.label, quality, setting, send, level, key_seconds, fine_keys)


def _send_sequence(
    served: ServedCodec,
    begin: Callable[[], SequenceEncoder],
    refers: bool,
    clip: Clip,
    losses: Sequence[Lost],
) -> list[list[CodedFrame]]:
    warming = begin()  # graphs compile at a first size: the key's, then that of what changes
    warming.received(warming.encode(clip.images[0], 0.0))
    warming.encode(clip.images[0], 1 / clip.fps)
    if refers:
        return [list(_code_frames(begin(), served, clip, lost)) for lost in losses]
    alone = list(_code_frames(begin(), served, clip, np.zeros_like(losses[0])))
    return [_without(alone, lost) for lost in losses]


def _code_frames(
    sequence: SequenceEncoder, served: ServedCodec, clip: Clip, lost: Lost
) -> Iterator[CodedFrame]:
    """The frames of a clip; a refinement is sent with its frame, and lost with it."""
    assert served.detector is not None
    decoder = SequenceDecoder(served.decoder)
    for number, (image, gone) in enumerate(zip(clip.images, lost, strict=True)):
        started, due = time.process_time(), number / clip.fps
        sent = sequence.encode(image, due)
        refinement = sequence.refine(image, due)
        seconds = time.process_time() - started
        messages = [sent] if refinement is None else [sent, refinement]
        latents = [] if gone else [decoder.decode(m.encoded.bitstream).latent for m in messages]
        for message in messages:
            (sequence.lost if gone else sequence.received)(message)
        found = served.detector.detect_latents(latents[:1], WANTED)
        yield CodedFrame(
            sum(len(message.encoded.bitstream) for message in messages),
            sent.kind == "intra",
            seconds,
            None if gone else ScoredBoxes.of(found[0]),
            None if sent.after is None else sent.activity,
        )


def _without(sent: Sequence[CodedFrame], lost: Lost) -> list[CodedFrame]:
    """Frames that need no other: of those that are lost the boxes are missing, and nothing else."""
    return [
        replace(frame, boxes=None) if gone else frame
        for frame, gone in zip(sent, lost, strict=True)
    ]


def _detect(detector: ReferenceDetector, image: Image) -> ScoredBoxes:
    return ScoredBoxes.of(detector.session.detect_image(image, WANTED))


def _send_stream(
    codec: StreamCodec,
    quality: int,
    key_seconds: float,
    detector: ReferenceDetector,
    clip: Clip,
    losses: Sequence[Lost],
) -> list[list[CodedFrame]]:
    packets = encode_stream(codec, quality, key_seconds, clip)
    known: dict[bytes, ScoredBoxes] = {}  # by the picture: up to the first loss all are the same

    def detect(image: Image) -> ScoredBoxes:
        digest = hashlib.sha256(image.tobytes()).digest()
        if digest not in known:
            known[digest] = _detect(detector, image)
        return known[digest]

    return [
        [
            CodedFrame(len(p.data), p.is_key, p.encode_seconds, None if i is None else detect(i))
            for p, i in zip(packets, decode_stream(codec, packets, lost, clip), strict=True)
        ]
        for lost in losses
    ]


def encode_stream(codec: StreamCodec, quality: int, key_seconds: float, clip: Clip) -> list[Packet]:
    """The frames of a clip as packets, one each."""
    h, w = clip.images[0].shape[:2]
    even = ((0, h % 2), (0, w % 2), (0, 0))  # of a side that is odd the last pixel is sent twice
    context = cast(VideoCodecContext, av.CodecContext.create(codec.encoder, "w"))
    context.width, context.height, context.pix_fmt = w + w % 2, h + h % 2, "yuv420p"
    context.framerate = Fraction(clip.fps).limit_denominator(1000)
    context.time_base = 1 / context.framerate
    context.options = codec.options(quality, key_frames(key_seconds, clip.fps))
    packets: list[Packet] = []
    for number, image in enumerate([*clip.images, None]):  # None: what is still inside
        frame = None
        if image is not None:
            padded = np.pad(image, even, mode="edge")
            frame = av.VideoFrame.from_ndarray(padded, format="rgb24")
            frame.pts = number
        started = time.process_time()
        given = context.encode(frame)
        seconds = time.process_time() - started
        for packet in given:
            data = _X264_NAMES_ITSELF.sub(b"", bytes(packet))
            packets.append(Packet(data, packet.is_keyframe, seconds))
    return packets


def decode_stream(
    codec: StreamCodec, packets: Sequence[Packet], lost: Lost, clip: Clip
) -> Iterator[Image | None]:
    """What a decoder shows of each frame, lost packets left out; None where a frame was lost."""
    h, w = clip.images[0].shape[:2]
    context = cast(VideoCodecContext, av.CodecContext.create(codec.decoder, "r"))
    context.thread_count = 1  # else it gives a picture some frames later
    context.options = {"flags": "+output_corrupt"}
    shown = np.zeros_like(clip.images[0])  # before there is any picture
    for packet, gone in zip(packets, lost, strict=True):
        if gone:
            yield None
            continue
        try:
            for frame in context.decode(av.Packet(packet.data)):
                shown = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)[:h, :w]
        except av.error.InvalidDataError:
            pass  # nothing new is shown
        yield shown
