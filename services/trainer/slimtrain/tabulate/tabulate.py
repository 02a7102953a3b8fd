"""`slimwire tabulate`: a codec that is trained, pictures and videos -> it with a context prior.

    pictures -g_a-> latents -AloneFit-----> predictor of symbols ----------+-> integers, then counts
    videos   -g_a-> latents -Camera-------> inter frames                   |   along the walk
                                            `-DifferenceFit-> of differences   -> context.npz

The transforms stay as they are. Both fits are runs of `slimtrain.loop`: killed, they go on where
they were, and the same pictures, videos and seed give the same model.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from slimcodec.context.prior import (
    CHANGE_CONTEXTS,
    MODE_CONTEXTS,
    ContextPrior,
    context_arrays,
    save_context,
)
from slimcodec.entropy.tables import compute_fingerprint, save_tables
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimnets.codec.codec import CodecNet
from slimnets.export.onnx_file import StoredWeights, to_array
from slimnets.export.tabulate import to_tables
from slimtrain.artifact_folder import Json, check_new_artifact, new_artifact, write_manifest
from slimtrain.codec.artifact import load_codec, structure_of, write_decoder_graphs
from slimtrain.data.crops import draw_seed
from slimtrain.data.pictures import PictureEntry, divide, index_pictures
from slimtrain.loop.checkpoint import digest_of_file
from slimtrain.loop.loop import Loop
from slimtrain.loop.processes import Processes
from slimtrain.loop.schedule import Schedule
from slimtrain.tabulate.count import Counts
from slimtrain.tabulate.fit import AloneFit, DifferenceFit, chunk_ends, draw_quality
from slimtrain.tabulate.frames import Camera, InterFrame
from slimtrain.tabulate.integers import laplace_weights, lut, to_integers
from slimtrain.tabulate.latents import Latent, latents_of_pictures, latents_of_video
from slimtrain.tabulate.predictor import Predictor

# The frames of a video, (H, W, 3) RGB, at so many a second.
VideoReader = Callable[[Path, float], Iterable[NDArray[np.uint8]]]

FPS = 5.0  # of the videos' latents
_WARM_UP = 30  # steps
_LAST_SHARE = 0.01  # of the learning rate, at the end
_AVERAGE = 0.98  # decay of the weight average
# Their symbols are tens of millions.
_COUNTED_PICTURES, _COUNTED_FRAMES = 128, 200
# Files that the new model has not, or has of its own.
_REPLACED = ("h_a_", "h_s_", "hyper.npz", "tables.npz", "g_s.onnx", "feature_transform.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class TabulateSettings:
    """What a context prior is made of, and how long that may take."""

    images: Sequence[Path]  # folders of pictures
    videos: Sequence[Path] = ()  # of fixed cameras; none: every frame will be coded alone
    to: Path  # models/<name>/<version> of the result
    run: Path | None = None  # folder of the fits; None: `runs/<name>-<version>`
    pictures: int = 480  # at most, spread over all folders
    frames: int = 60  # of each video, at most
    sequences: int = 12  # of frames, simulated of each video
    max_edge: int = 640  # longest side of a picture, pixels
    # steps, inter_steps: of the two fits; batch: crops of a step
    steps: int = 1500
    inter_steps: int = 1000
    batch: int = 16
    threads: int | None = None  # of torch; None: its choice
    seed: int = 1
    command: str = ""  # that asked for it, for the record

    @property
    def run_folder(self) -> Path:
        return self.run or Path("runs") / f"{self.to.parent.name}-{self.to.name}"


def tabulate(source: CodecArtifact, settings: TabulateSettings, read_video: VideoReader) -> Path:
    """Fit and count a context prior for a codec, and write the model that has it; its folder.

    Raises:
        ArtifactFolderError: `settings.to` exists or is not `.../<name>/<version>`.
        PictureError: there are no training pictures, or a video has less than two frames.
        LoopError: the run's folder is of other pictures, videos or settings.
    """
    check_new_artifact(settings.to)
    started = time.monotonic()
    codec = load_codec(source.directory)
    entries, _ = divide(index_pictures(settings.images))
    chosen = min(settings.pictures, len(entries))
    entries = [entries[index * len(entries) // chosen] for index in range(chosen)]
    with Processes.join("cpu", settings.threads):
        runtime = OpenVinoRuntime(settings.threads, "f32")
        g_a = runtime.load(source.analysis_path(source.widest_level))
        latents = latents_of_pictures(g_a, entries, settings.max_edge)
        cameras = [
            Camera(
                latents_of_video(g_a, path.name, read_video(path, FPS), settings.frames),
                source.tables.gain,
                codec.config.latent_channels,
            )
            for path in settings.videos
        ]
        frames = _simulate(cameras, settings)
        fitted = _fit(source, settings, latents, frames, _identity(source, settings, entries))
        prior = _count(to_prior(*fitted), source, settings, latents, frames)
    record: dict[str, Json] = {
        "from": source.label,
        "command": settings.command,
        "folders": sorted({entry.source for entry in entries}),
        "pictures": len(latents),
        "videos": [path.name for path in settings.videos],
        "steps": [settings.steps, settings.inter_steps],
        "seconds": round(time.monotonic() - started),
    }
    write_tabulated(source, codec, prior, settings.to, record)
    return settings.to


def _identity(
    source: CodecArtifact, settings: TabulateSettings, entries: Sequence[PictureEntry]
) -> dict[str, str]:
    digest = hashlib.sha256("".join(entry.digest for entry in entries).encode()).hexdigest()
    fields = ("frames", "sequences", "max_edge", "batch", "seed")
    return {
        "codec": source.manifest.fingerprint,
        "pictures": f"{len(entries)} ({digest[:12]})",
        "videos": " ".join(map(digest_of_file, settings.videos)),
        "settings": json.dumps({name: getattr(settings, name) for name in fields}),
    }


def _fit(
    source: CodecArtifact,
    settings: TabulateSettings,
    latents: Sequence[Latent],
    frames: Sequence[InterFrame],
    identity: Mapping[str, str],
) -> tuple[Predictor, Predictor | None]:
    gain, ends = source.tables.gain, chunk_ends(source.latent_layout.widths)
    schedule, out = Schedule(_WARM_UP, _LAST_SHARE), settings.run_folder
    common = identity, settings.seed, settings.batch
    alone = Predictor(ends, len(gain))
    Loop(out / "alone", schedule, _AVERAGE, steps=settings.steps).run(
        AloneFit(alone, latents, gain, *common)
    )
    if not frames:
        return alone, None
    difference = Predictor(ends, len(gain), inter=True)
    Loop(out / "difference", schedule, _AVERAGE, steps=settings.inter_steps).run(
        DifferenceFit(difference, alone, frames, *common)
    )
    return alone, difference


def _simulate(cameras: Sequence[Camera], settings: TabulateSettings) -> list[InterFrame]:
    """Frames in which something changed; of others nothing is coded, not even flags."""
    seeds = [
        (camera, draw_seed(settings.seed, number, sequence))
        for number, camera in enumerate(cameras)
        for sequence in range(settings.sequences)
    ]
    drawn = (
        frame for camera, seed in seeds for frame in camera.sequence(np.random.default_rng(seed))
    )
    return [frame for frame in drawn if frame.changed.any()]


def to_prior(alone: Predictor, difference: Predictor | None) -> ContextPrior:
    """The integers, with tables and frequencies to begin with."""
    bias, weights = to_integers(alone)
    inter_bias, inter_weights = to_integers(difference) if difference is not None else (bias, {})
    even = 1 << 15
    return ContextPrior(
        lut(),
        np.array(alone.ends, np.int32),
        bias,
        inter_bias,
        np.full(CHANGE_CONTEXTS, even, np.int32),
        np.full(MODE_CONTEXTS, even, np.int32),
        to_tables(laplace_weights()),
        {**weights, **inter_weights},
    )


def _count(
    prior: ContextPrior,
    source: CodecArtifact,
    settings: TabulateSettings,
    latents: Sequence[Latent],
    frames: Sequence[InterFrame],
) -> ContextPrior:
    tables, counts = source.tables, Counts()
    draw = np.random.default_rng(draw_seed(settings.seed, settings.steps))
    spread = latents[:: max(1, len(latents) // _COUNTED_PICTURES)]
    for y in tqdm(spread, "symbols", mininterval=2.0):
        quality = draw_quality(draw.random(), len(tables.gain))
        counts.add_key(prior, np.rint(y * tables.gain_at(quality)[:, None, None]), quality)
    for frame in frames:
        counts.add_flags(frame)
    spread_frames = frames[:: max(1, len(frames) // _COUNTED_FRAMES)]
    for frame in tqdm(spread_frames, "differences", mininterval=2.0):
        counts.add_inter(prior, frame)
    return counts.made(prior)


def write_tabulated(
    source: CodecArtifact,
    codec: CodecNet,
    prior: ContextPrior,
    to: Path,
    record: Mapping[str, Json],
) -> None:
    """Write the folder of a codec that has this prior in place of its own. Without its profile,
    which is of other bytes; what its scores mean, and its triage, stay.
    """
    manifest = json.loads((source.directory / "manifest.json").read_text(encoding="utf-8"))
    structure = {
        **structure_of(codec.config),
        "prior": "context",
        "streams": source.manifest.streams,
    }
    none = np.zeros((source.manifest.qualities, 0), np.int32)
    tables = replace(
        source.tables,
        cdf=none[:, :, np.newaxis].astype(np.uint32),
        cdf_length=none,
        offset=none,
        table_steps=1,
    )
    g_a = (to_array(t).tobytes() for name, t in codec.state_dict().items() if name[:4] == "g_a.")
    with new_artifact(to) as folder:
        for name in source.manifest.files:
            if not name.startswith(_REPLACED):
                shutil.copyfile(source.file(name), folder / name)
        write_decoder_graphs(codec, StoredWeights(codec, folder), folder, by_place=True)
        save_tables(folder / "tables.npz", tables)
        save_context(folder / "context.npz", prior)
        fingerprint = compute_fingerprint(structure, tables, g_a, context=context_arrays(prior))
        said = {**manifest, **structure, "fingerprint": fingerprint}
        del said["files"]
        said.pop("hyper_stride", None)
        said["training"] = {**manifest["training"], "tabulate": record}
        write_manifest(folder, to, said)
