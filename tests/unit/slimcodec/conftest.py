"""One toy codec for all tests of the package; graphs are compiled once for them all."""

from pathlib import Path

import pytest

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from support.models.toy_artifact import make_toy_codec

VECTORS = Path(__file__).parents[2] / "vectors"


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
