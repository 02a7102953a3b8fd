"""One toy codec for all tests of the package; graphs are compiled once for them all."""

from collections.abc import Iterator

import pytest

from slimcodec.context import compiled
from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from support.build_hook import HAS_COMPILER, ROOT, load_build_hook
from support.models.toy_artifact import make_toy_codec

VECTORS = ROOT / "tests" / "vectors"


@pytest.fixture(scope="session", autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The steps in C as their source is now, whatever was built when this was installed."""
    path = tmp_path_factory.mktemp("library") / compiled.LIBRARY.name
    why = load_build_hook().compile_steps(ROOT, path)
    assert not (HAS_COMPILER and why), why
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "LIBRARY", path)
        yield


@pytest.fixture(scope="module", params=["numpy", "C"])
def steps(request: pytest.FixtureRequest) -> Iterator[str]:
    """What takes the steps of the context prior."""
    if request.param == "C" and not HAS_COMPILER:
        pytest.skip("no C compiler")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setenv(compiled.PURE, "1")
        yield request.param


@pytest.fixture(scope="session")
def codec(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path_factory.mktemp("models"), seed=1))


@pytest.fixture(scope="session")
def runtime() -> OpenVinoRuntime:
    return OpenVinoRuntime(num_threads=1)


@pytest.fixture(scope="session")
def encoder(codec: CodecArtifact, runtime: OpenVinoRuntime) -> Encoder:
    return Encoder(codec, runtime)


@pytest.fixture(scope="session")
def decoder(codec: CodecArtifact, runtime: OpenVinoRuntime) -> Decoder:
    return Decoder(codec, runtime)


@pytest.fixture(scope="session")
def golden_codec() -> CodecArtifact:
    return load_codec_artifact(VECTORS / "codec")


@pytest.fixture(scope="session")
def golden_decoder(golden_codec: CodecArtifact, runtime: OpenVinoRuntime) -> Decoder:
    return Decoder(golden_codec, runtime)
