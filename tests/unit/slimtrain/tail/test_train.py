"""The second stage: the edge stays as it is, the cloud's half learns, and the result is served."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.load import load_codec_artifact, load_detector_artifact
from slimcodec.model.manifest import ModelReference
from slimdetect.detector import Detector
from slimdetect.scores import Wanted
from slimnets.codec.codec import CodecNet
from slimnets.codec.config import CodecConfig
from slimnets.codec.stem_transform import StemFeatureTransform
from slimnets.darknet.fold import fold_norms, load_tail
from slimtrain.codec.artifact import load_codec, write_codec_artifact
from slimtrain.codec.start import fit_picture, give_stem
from slimtrain.data.pictures import LoadedPicture
from slimtrain.detector.artifact import write_detector_artifact
from slimtrain.loop.checkpoint import load_checkpoint
from slimtrain.loop.processes import LoopError
from slimtrain.tabulate.tabulate import write_tabulated
from slimtrain.tail.artifact import write_tail_artifact
from slimtrain.tail.model import FrozenEncoder, TailLossWeights, TailSampler
from slimtrain.tail.train import TailError, TailRun, train_tail
from support.broken_runs import check_killed_run_ends_like_a_whole_one, log_of, tensors_of
from support.models.darknets import ALL_LAYERS_SPLIT, make_darknet
from support.models.toy_artifact import make_image
from support.models.toy_context import toy_context

CPU = torch.device("cpu")
CONFIG = CodecConfig(
    channels=((4, 4, 6, 8), (6, 8, 8, 12)),
    qualities=4,
    feature_channels=8,
    feature_width=8,
    synthesis_widths=(8, 8, 8, 8),
)
STEPS = 12


@dataclass(frozen=True)
class Models:
    codec: Path
    detector: Path


def write_detector(folder: Path, seed: int = 0) -> Path:
    return write_detector_artifact(
        make_darknet(seed=seed),
        ["hat", "dog", "cup"],
        ALL_LAYERS_SPLIT,
        folder,
        training={},
        licence="none",
    )


def make_models(root: Path, seed: int = 5, config: CodecConfig = CONFIG) -> Models:
    detector = write_detector(root / "toy-detector" / "1")
    torch.manual_seed(seed)
    model = CodecNet(config)
    with torch.no_grad():
        model.log_gain.add_(3.0)  # an untrained g_a gives little: else every symbol is zero
    codec = write_codec_artifact(
        model.eval(),
        [make_image(64, 64, seed=i) for i in range(2)],
        root / "toy" / "1",
        ModelReference(name="toy-detector", version=1),
        training={"steps": 0},
        figures={"map50": 0.1},
        licence="none",
    )
    return Models(codec, detector)


def make_pictures(labelled: int, unlabelled: int = 0, seed: int = 0) -> list[LoadedPicture]:
    box = np.array([[1, 0.5, 0.4, 0.3, 0.25, 1.0]], np.float32)
    return [
        LoadedPicture(
            make_image(72, 96, seed=seed + i), box if i < labelled else None, f"{i}.png", "toy"
        )
        for i in range(labelled + unlabelled)
    ]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


RunFactory = Callable[..., TailRun]


@pytest.fixture(scope="module")
def make_run(models: Models) -> RunFactory:
    def make(out: Path, **changes: object) -> TailRun:
        run = TailRun(
            out,
            models.codec,
            models.detector,
            steps=STEPS,
            batch=4,
            image_size=64,
            learning_rate=5e-3,
            tail_learning_rate=1e-3,
            average=0.9,
        )
        return replace(run, **changes)  # type: ignore[arg-type]  # any of its fields

    return make


@pytest.fixture(scope="module")
def tuned(
    models: Models, make_run: RunFactory, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The folder of a run and the artifact that was made of it."""
    out = tmp_path_factory.mktemp("run")
    checkpoint = train_tail(make_run(out), make_pictures(5, 3), make_pictures(2, seed=50))
    target = tmp_path_factory.mktemp("tuned") / "toy" / "2"
    made = write_tail_artifact(checkpoint, models.codec, models.detector, target, {"data": "noise"})
    return out, made


def state_of(run: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(run / "checkpoint.pt")
    average: dict[str, torch.Tensor] = state["average"]["state"]
    return average


def test_containers_are_the_same_bytes_before_and_after(
    models: Models, tuned: tuple[Path, Path]
) -> None:
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    before, after = (load_codec_artifact(path) for path in (models.codec, tuned[1]))
    image = make_image(64, 96, seed=9)

    made = [
        [
            Encoder(artifact, runtime).encode(image, level, quality).bitstream
            for level in range(2)
            for quality in range(4)
        ]
        for artifact in (before, after)
    ]

    assert made[0] == made[1]
    assert after.fingerprint == before.fingerprint
    latent = Decoder(after, runtime).decode_latent(made[0][-1])
    assert np.abs(latent.y_hat).max() > 0


def test_latents_meet_the_tuned_tail_and_pictures_the_original(
    models: Models, tuned: tuple[Path, Path]
) -> None:
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    detector = load_detector_artifact(models.detector)
    artifacts = [load_codec_artifact(path) for path in (models.codec, tuned[1])]
    before, after = (Detector(artifact, detector, runtime) for artifact in artifacts)
    image = make_image(64, 96, seed=9)
    bitstream = Encoder(artifacts[0], runtime).encode(image, 1, 3).bitstream
    latent = Decoder(artifacts[1], runtime).decode_latent(bitstream)

    assert after.detect_image(image, Wanted(0.0)) == before.detect_image(image, Wanted(0.0))
    assert after.detect_latents([latent], Wanted(0.0)) != before.detect_latents(
        [latent], Wanted(0.0)
    )


def test_the_tuned_tail_is_served_as_torch_runs_it(tuned: tuple[Path, Path]) -> None:
    f = np.random.default_rng(0).standard_normal((1, 8, 8, 8)).astype(np.float32)
    path = tuned[1] / "tail.onnx"

    exported = OpenVinoRuntime(num_threads=1, precision="f32").load(path)(f=f)
    tail = load_tail(make_darknet(), ALL_LAYERS_SPLIT, path)
    on_torch = tail.tail(torch.from_numpy(f), ALL_LAYERS_SPLIT)

    assert exported.keys() == {"head_0", "head_1"}
    for values, expected in zip(exported.values(), on_torch, strict=True):
        np.testing.assert_allclose(values, expected.detach().numpy(), rtol=1e-3, atol=1e-4)


def test_the_tail_that_ships_is_half_way_back_to_the_uncut_one(
    models: Models, make_run: RunFactory, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", steps=3, tail_learning_rate=10.0, average=0.1)
    checkpoint = train_tail(run, make_pictures(4), make_pictures(0))

    made = write_tail_artifact(
        checkpoint, models.codec, models.detector, tmp_path / "toy" / "2", {}
    )

    served = load_tail(make_darknet(), ALL_LAYERS_SPLIT, made / "tail.onnx").state_dict()
    uncut = fold_norms(make_darknet(), ALL_LAYERS_SPLIT + 1).state_dict()
    name = max(name for name in served if name.endswith("conv.weight"))
    tuned = state_of(run.out)[f"tail.{name}"]
    assert (tuned - uncut[name]).abs().max() > 0.1, "what is tested must be seen"
    torch.testing.assert_close(served[name], (tuned + uncut[name]) / 2, rtol=0.05, atol=0.02)


def test_the_new_version_lists_what_it_holds(models: Models, tuned: tuple[Path, Path]) -> None:
    manifest = json.loads((tuned[1] / "manifest.json").read_text())
    base = json.loads((models.codec / "manifest.json").read_text())

    assert (manifest["name"], manifest["version"]) == ("toy", 2)
    assert manifest["files"].keys() - base["files"].keys() == {"tail.onnx", "detector.cfg"}
    changed = {n for n, record in base["files"].items() if manifest["files"][n] != record}
    assert changed == {"weights.safetensors"}
    assert manifest["training"]["second_stage"] == {
        "from": "toy/1",
        "steps": STEPS,
        "tail": "tuned, then half way back",
        "data": "noise",
    }
    assert manifest["scores"] == [], "scores are of the features"
    assert manifest["figures"] == {}, "the base's figures are not those of the tuned version"


def test_weights_beside_the_graphs_are_the_tuned_ones(tuned: tuple[Path, Path]) -> None:
    run, artifact = tuned
    stored = load_codec(artifact).feature_transform.state_dict()
    average = state_of(run)

    for name, value in stored.items():
        torch.testing.assert_close(
            value, average[f"feature_transform.{name}"], rtol=1e-3, atol=1e-5
        )


def test_less_of_the_teacher_is_lost_afterwards(tuned: tuple[Path, Path]) -> None:
    with (tuned[0] / "validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    before = {(r["level"], r["quality"]): r for r in rows if r["step"] == "0"}
    after = {(r["level"], r["quality"]): r for r in rows if r["step"] == str(STEPS)}

    for rows_of in (before, after):
        uncompressed = rows_of.pop(("", ""))
        assert float(uncompressed["features"]) == 0
    assert before.keys() == after.keys()
    assert len(before) >= 3
    for point, row in after.items():
        assert float(row["features"]) < float(before[point]["features"])


def test_a_killed_run_ends_like_a_whole_one(make_run: RunFactory, tmp_path: Path) -> None:
    check_killed_run_ends_like_a_whole_one(
        lambda out: train_tail(make_run(out, steps=9), make_pictures(4, 2), make_pictures(0)),
        tmp_path,
    )


def test_a_run_goes_on_one_step_at_a_time(make_run: RunFactory, tmp_path: Path) -> None:
    pictures, held_out = make_pictures(4, 2), make_pictures(1, seed=50)
    whole = make_run(tmp_path / "whole", steps=3)
    pieces = make_run(tmp_path / "pieces", steps=3, seconds=1e-9)

    train_tail(whole, pictures, held_out)
    for _ in range(3):
        train_tail(pieces, pictures, held_out)

    expected, found = tensors_of(whole.out), tensors_of(pieces.out)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    watched = [row["step"] for row in log_of(pieces.out, "validation.csv")]
    assert list(dict.fromkeys(watched)) == ["0", "1", "2", "3"]
    assert len(watched) == 4 * watched.count("0")


def test_other_pictures_or_labels_are_refused(make_run: RunFactory, tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=2)
    train_tail(run, make_pictures(4), make_pictures(0))

    with pytest.raises(LoopError, match="pictures .* another --out"):
        train_tail(run, make_pictures(3, 1), make_pictures(0))  # the same, one without its label


def test_unlabelled_pictures_are_enough(make_run: RunFactory, tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=2)

    train_tail(run, make_pictures(0, 4), make_pictures(0, 2, seed=40))

    with (tmp_path / "log.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["detection"]) == 0
    assert float(row["heads"]) > 0
    with (tmp_path / "validation.csv").open(newline="") as file:
        assert {r["map50"] for r in csv.DictReader(file)} == {""}


def test_a_tail_that_is_left_alone_is_not_shipped(
    models: Models, make_run: RunFactory, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", steps=2, tail_learning_rate=0.0)

    checkpoint = train_tail(run, make_pictures(4), make_pictures(0))
    made = write_tail_artifact(
        checkpoint, models.codec, models.detector, tmp_path / "toy" / "7", {}
    )

    assert "tail.onnx" not in load_codec_artifact(made).manifest.files
    before, after = (load_codec(folder).feature_transform for folder in (models.codec, made))
    assert not torch.equal(before.first.conv.weight, after.first.conv.weight)


def test_a_second_stage_can_follow_another(
    models: Models, make_run: RunFactory, tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", codec=tuned[1], steps=1, learning_rate=0.0)

    checkpoint = train_tail(
        replace(run, tail_learning_rate=1e-12), make_pictures(4), make_pictures(0)
    )
    made = write_tail_artifact(checkpoint, tuned[1], models.detector, tmp_path / "toy" / "3", {})

    uncut, first, second = (
        load_tail(make_darknet(), ALL_LAYERS_SPLIT, folder / "tail.onnx").state_dict()
        if folder
        else fold_norms(make_darknet(), ALL_LAYERS_SPLIT + 1).state_dict()
        for folder in (None, tuned[1], made)
    )
    last = max(name for name in first if name.endswith("conv.weight"))
    half_way = (first[last] + uncut[last]) / 2
    torch.testing.assert_close(second[last], half_way, rtol=0.05, atol=0.01)


def test_a_codec_with_the_context_prior_still_serves(
    models: Models, make_run: RunFactory, tmp_path: Path
) -> None:
    base = tmp_path / "toy" / "2"
    prior = toy_context((4, 8, 12), CONFIG.qualities)
    write_tabulated(load_codec_artifact(models.codec), load_codec(models.codec), prior, base, {})

    checkpoint = train_tail(
        make_run(tmp_path / "run", codec=base, steps=1), make_pictures(4), make_pictures(0)
    )
    made = load_codec_artifact(
        write_tail_artifact(checkpoint, base, models.detector, tmp_path / "toy" / "3", {})
    )

    runtime, image = OpenVinoRuntime(num_threads=1, precision="f32"), make_image(64, 96)
    decoder = Decoder(made, runtime)
    latent = decoder.decode_latent(Encoder(made, runtime).encode(image, 0, 1).bitstream)
    assert decoder.decode_image(latent).shape == image.shape
    detector = Detector(made, load_detector_artifact(models.detector), runtime)
    assert len(detector.detect_latents([latent])) == 1


@pytest.fixture(scope="module")
def with_stem(make_run: RunFactory, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("stem")
    models = make_models(root, config=replace(CONFIG, block_transform=True))
    run = make_run(root / "run", codec=models.codec, feature_transform="stem")
    checkpoint = train_tail(run, make_pictures(6, 2), make_pictures(4, seed=50))
    made = write_tail_artifact(checkpoint, models.codec, models.detector, root / "toy" / "2", {})
    return models.codec, made


def test_a_stem_changes_nothing_at_the_edge(with_stem: tuple[Path, Path]) -> None:
    base, made = (load_codec_artifact(path).manifest for path in with_stem)

    assert made.fingerprint == base.fingerprint
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    for level in range(len(base.levels)):
        y, same = (runtime.load(path / f"g_a_{level}.onnx")(x=x)["y"] for path in with_stem)
        assert np.array_equal(y, same)
    assert load_codec(with_stem[1]).config.feature_transform == "stem"
    before, after = (load_codec(path).g_s.state_dict() for path in with_stem)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_stem_takes_the_codec_to_another_detector(
    with_stem: tuple[Path, Path], make_run: RunFactory, tmp_path: Path
) -> None:
    other = write_detector(tmp_path / "other" / "1", seed=1)
    codec = tmp_path / "toy" / "1"
    shutil.copytree(with_stem[0], codec)
    manifest = json.loads((codec / "manifest.json").read_text())
    for name in ("triage.json", "triage.onnx"):  # of the detector before
        (codec / name).write_text("{}")
        manifest["files"][name] = {"sha256": sha256(b"{}").hexdigest(), "bytes": 2}
    (codec / "manifest.json").write_text(json.dumps(manifest))
    run = make_run(tmp_path / "run", codec=codec, detector=other, feature_transform="stem", steps=2)

    checkpoint = train_tail(run, make_pictures(4), make_pictures(0))
    made = write_tail_artifact(checkpoint, codec, other, tmp_path / "toy" / "2", {})

    artifact = load_codec_artifact(made)
    assert artifact.manifest.detector == ModelReference(name="other", version=1)
    assert artifact.manifest.fingerprint == load_codec_artifact(codec).manifest.fingerprint
    assert not {"triage.json", "triage.onnx"} & artifact.manifest.files.keys()
    runtime = OpenVinoRuntime(num_threads=1)
    bitstream = Encoder(artifact, runtime).encode(make_image(64, 64), 1, 2).bitstream
    latent = Decoder(artifact, runtime).decode_latent(bitstream)
    Detector(artifact, load_detector_artifact(other), runtime).detect_latents([latent])


def test_a_stem_is_served_as_torch_runs_it(with_stem: tuple[Path, Path]) -> None:
    rng = np.random.default_rng(0)
    y_hat = rng.standard_normal((2, CONFIG.latent_channels[-1], 4, 4)).astype(np.float32)
    level = np.eye(2, dtype=np.float32)
    graph = OpenVinoRuntime(num_threads=1, precision="f32").load(
        with_stem[1] / "feature_transform.onnx"
    )

    exported = graph(y_hat=y_hat, level=level)["f_hat"]

    transform = load_codec(with_stem[1]).feature_transform
    on_torch = transform(torch.from_numpy(y_hat), torch.from_numpy(level)).detach().numpy()
    assert exported.shape == (2, 8, 8, 8)
    np.testing.assert_allclose(exported, on_torch, rtol=1e-2, atol=1e-3)


def test_a_stem_begins_nearer_to_the_picture_than_the_linear_path_that_it_takes(
    with_stem: tuple[Path, Path],
) -> None:
    detector = make_darknet()
    codec = give_stem(load_codec(with_stem[0]), detector, ALL_LAYERS_SPLIT)
    transform = codec.feature_transform
    assert isinstance(transform, StemFeatureTransform)
    images = np.stack([make_image(64, 64, seed=i) for i in range(4)])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    y_hat, level = codec.prefix(codec.analyse(x, 1), torch.tensor([0, 1, 0, 1]))
    y_hat = y_hat.detach()

    def error() -> float:
        with torch.no_grad():
            return float((transform.picture(y_hat, level) - x).square().mean())

    before = error()
    fit_picture(transform, lambda step: (x, y_hat, level), steps=100)

    assert error() < 0.95 * before


def test_a_codec_without_a_linear_path_gets_no_stem(make_run: RunFactory, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="block_transform: true"):
        train_tail(make_run(tmp_path, feature_transform="stem"), make_pictures(2), make_pictures(0))


def test_frozen_latents_are_those_that_the_cloud_decodes(models: Models) -> None:
    artifact = load_codec_artifact(models.codec)
    runtime = OpenVinoRuntime(num_threads=1, precision="f32")
    encoder, decoder = Encoder(artifact, runtime), Decoder(artifact, runtime)
    image = make_image(64, 96, seed=3)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    frozen = FrozenEncoder(load_codec(models.codec), CPU)

    y_hat = frozen(x.expand(2, -1, -1, -1), torch.tensor([0, 1]), torch.tensor([2.0, 3.0]))

    assert not y_hat.requires_grad
    assert not y_hat[0, CONFIG.latent_channels[0] :].any()
    for row, (level, quality) in enumerate(((0, 2), (1, 3))):
        served = decoder.decode_latent(encoder.encode(image, level, quality).bitstream).y_hat[0]
        ours = y_hat[row, : len(served)].numpy()
        assert served.any()
        # bf16 against float32: a value near a half may round to the other side
        assert np.isclose(ours, served, rtol=1e-3, atol=1e-4).mean() > 0.95


def test_batches_hold_labelled_pictures_first_in_proportion() -> None:
    sampler = TailSampler(make_pictures(6, 2), 64, CPU, seed=1, use_labels=True)

    batch = sampler.batch(0, 4)

    assert batch.x.shape == (4, 3, 64, 64)
    assert len(batch.targets) == 3
    assert len(TailSampler(make_pictures(99, 1), 64, CPU, 1, True).batch(0, 4).targets) == 3
    assert len(TailSampler(make_pictures(6, 2), 64, CPU, 1, False).batch(0, 4).targets) == 0


def test_another_detector_is_refused(models: Models, make_run: RunFactory, tmp_path: Path) -> None:
    other = write_detector(tmp_path / "other" / "1", seed=1)

    with pytest.raises(TailError, match="was trained for detector toy-detector/1; found other/1"):
        train_tail(make_run(tmp_path, detector=other), make_pictures(2), make_pictures(0))


def test_a_checkpoint_of_another_codec_is_refused(
    make_run: RunFactory, tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    other = make_models(tmp_path, seed=6)
    run = make_run(tuned[0], codec=other.codec)

    with pytest.raises(LoopError, match="codec"):
        train_tail(run, make_pictures(2), make_pictures(0))
    with pytest.raises(ValueError, match="give the codec that the run began with"):
        write_tail_artifact(
            tuned[0] / "checkpoint.pt", other.codec, other.detector, tmp_path / "toy" / "9", {}
        )


def test_nothing_to_learn_from_is_said_at_once(make_run: RunFactory, tmp_path: Path) -> None:
    run = make_run(tmp_path, weights=TailLossWeights(heads=0.0, features=0.0))

    with pytest.raises(TailError, match="no labelled picture and no distillation"):
        train_tail(run, make_pictures(0, 2), make_pictures(0))


def test_a_size_that_the_detector_cannot_join_is_refused(
    make_run: RunFactory, tmp_path: Path
) -> None:
    with pytest.raises(TailError, match="image size 70; expected a multiple of 16"):
        train_tail(make_run(tmp_path, image_size=70), make_pictures(2), make_pictures(0))
