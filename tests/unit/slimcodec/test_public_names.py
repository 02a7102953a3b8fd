import pickle
import subprocess
import sys

import slimcodec
from slimcodec import FingerprintMismatchError


def test_every_public_name_is_there_and_listed_once() -> None:
    assert len(set(slimcodec.__all__)) == len(slimcodec.__all__)
    assert [name for name in slimcodec.__all__ if not hasattr(slimcodec, name)] == []


def test_nothing_public_is_left_out() -> None:
    reachable = {
        name
        for name, thing in vars(slimcodec).items()
        if not name.startswith("_") and not isinstance(thing, type(sys))
    }

    assert reachable == set(slimcodec.__all__)


def test_import_brings_no_torch_and_no_network() -> None:
    script = (
        "import sys, slimcodec;"
        "unwanted = ('torch', 'compressai', 'grpc', 'fastapi', 'redis');"
        "print([name for name in unwanted if name in sys.modules])"
    )

    found = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )

    assert found.stdout.strip() == "[]"


def test_errors_with_data_survive_pickling() -> None:
    error = FingerprintMismatchError(b"\x01" * 8, b"\x02" * 8)

    again = pickle.loads(pickle.dumps(error))

    assert (again.found, again.expected, str(again)) == (error.found, error.expected, str(error))
