"""The baselines of every table: JPEG, WebP, AVIF and HEVC intra, as a careful user has them.

    image -code-> whole file -> decoded picture, then the same uncut detector

Colour is 4:2:0 in all four. JPEG has Huffman tables made for the picture, WebP its slowest method,
AVIF Pillow's default speed. `setting` names all that decides the bytes, libraries and versions too,
so that results of other settings are never mixed in.

HEVC is x265 on a single frame, the raw stream with its parameter sets:

    RGB -Pillow-> full-range YCbCr (BT.601), chroma halved -x265, constant QP-> Annex B bytes

without the SEI that names the encoder's settings (it would cost some hundred bytes). On six COCO
pictures the preset `slow` is on the same rate-PSNR curve at twice the time, leaving out `tune=psnr`
costs 0.0 to 0.1 dB, and rows that wait for each other (WPP, on when there are threads) cost 0.2 to
0.4 % of the bytes. An odd side is padded by one pixel; its bits count, its pixel does not.
"""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import av
import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

AVIF_SPEED = 6
WEBP_METHOD = 6
HEVC_PRESET = "medium"
_X265_PARAMETERS = (
    "keyint=1:info=0:log-level=none:wpp=0:pools=none:frame-threads=1"
    ":range=full:colorprim=bt470bg:transfer=smpte170m:colormatrix=bt470bg"
)
HEVC_SETTING = (
    f"x265 through PyAV {av.__version__}, one intra frame, preset {HEVC_PRESET}, tune psnr, "
    "constant QP, one thread, yuv420p, full-range BT.601, raw stream with parameter sets"
)


@dataclass(frozen=True)
class CodedImage:
    """One picture through a classic codec."""

    bitstream: bytes  # the whole file
    image_hat: NDArray[np.uint8]  # (H, W, 3) RGB
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Baseline:
    """A classic codec and the qualities that the report has of it.

    `ladder` is in the codec's own scale: 0-100, more is better; for HEVC the quantiser parameter,
    0-51, less is better.
    """

    name: str
    ladder: tuple[int, ...]
    setting: str
    encode: Callable[[NDArray[np.uint8], int], bytes]
    decode: Callable[[bytes, tuple[int, int]], NDArray[np.uint8]]

    def code(self, image: NDArray[np.uint8], quality: int) -> CodedImage:
        """A picture, uint8 (H, W, 3) RGB, there and back."""
        started = time.perf_counter()
        bitstream = self.encode(image, quality)
        encoded = time.perf_counter()
        image_hat = self.decode(bitstream, (image.shape[0], image.shape[1]))
        decoded = time.perf_counter()
        return CodedImage(bitstream, image_hat, encoded - started, decoded - encoded)


def _pillow(
    name: str, ladder: tuple[int, ...], setting: str, feature: str, **options: object
) -> Baseline:
    """One of Pillow's formats, written with these options; `feature` is its library's name."""

    def encode(image: NDArray[np.uint8], quality: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, name.upper(), quality=quality, **options)
        return stream.getvalue()

    def decode(bitstream: bytes, image_hw: tuple[int, int]) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(bitstream)) as opened:
            return np.array(opened.convert("RGB"), dtype=np.uint8)

    versions = f"Pillow {PIL.__version__}, {feature} {features.version(feature)}"
    return Baseline(name, ladder, f"{setting}; {versions}", encode, decode)


def _encode_hevc(image: NDArray[np.uint8], quantiser: int) -> bytes:
    """The raw HEVC stream of a picture, uint8 (H, W, 3) RGB, at a constant QP of 0-51."""
    y, cb, cr = _to_planes(image)
    h, w = y.shape
    stacked = np.concatenate([y.ravel(), cb.ravel(), cr.ravel()]).reshape(h * 3 // 2, w)
    frame = av.VideoFrame.from_ndarray(stacked, format="yuv420p")
    out = io.BytesIO()
    with av.open(out, "w", format="hevc") as container:
        stream = container.add_stream("libx265", rate=1)
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        stream.options = {
            "preset": HEVC_PRESET,
            "tune": "psnr",
            "x265-params": f"qp={quantiser}:{_X265_PARAMETERS}",
        }
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return out.getvalue()


def _decode_hevc(bitstream: bytes, image_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture of such a stream, uint8 (H, W, 3) RGB in its original size."""
    with av.open(io.BytesIO(bitstream), "r", format="hevc") as container:
        frame = next(container.decode(video=0))
    h, w = frame.height, frame.width
    y, halves = np.split(frame.to_ndarray(), [h])  # yuv420p or yuvj420p: Y, then Cb, then Cr
    chroma = [
        Image.fromarray(plane).resize((w, h), Image.Resampling.BILINEAR)
        for plane in halves.reshape(2, h // 2, w // 2)
    ]
    rgb = Image.merge("YCbCr", [Image.fromarray(y), *chroma]).convert("RGB")
    return np.array(rgb, dtype=np.uint8)[: image_hw[0], : image_hw[1]]


def _to_planes(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    h, w = image.shape[:2]
    even = np.pad(image, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
    y, *chroma = Image.fromarray(even).convert("YCbCr").split()
    half = (y.width // 2, y.height // 2)
    return np.asarray(y), *(
        np.asarray(plane.resize(half, Image.Resampling.BOX)) for plane in chroma
    )


_JPEG = _pillow(
    "jpeg",
    (5, 8, 12, 16, 20, 30, 40, 50, 65, 80, 90),
    "4:2:0, Huffman tables made for the picture",
    "jpg",
    optimize=True,
    subsampling="4:2:0",
)
_WEBP = _pillow(
    "webp",
    (1, 5, 10, 20, 30, 40, 50, 65, 80, 90),
    f"4:2:0, method {WEBP_METHOD}",
    "webp",
    method=WEBP_METHOD,
)
_AVIF = _pillow(
    "avif",
    (5, 15, 25, 35, 45, 55, 65, 75, 85),
    f"4:2:0, speed {AVIF_SPEED}",
    "avif",
    speed=AVIF_SPEED,
    subsampling="4:2:0",
)
_HEVC = Baseline(
    "hevc", (51, 48, 45, 42, 39, 36, 33, 30, 27, 24), HEVC_SETTING, _encode_hevc, _decode_hevc
)
# by name, in the order of the report
BASELINES: Mapping[str, Baseline] = {codec.name: codec for codec in (_JPEG, _WEBP, _AVIF, _HEVC)}
