import pickle

from slimcodec.errors import FingerprintMismatchError


def test_errors_with_data_survive_pickling() -> None:
    error = FingerprintMismatchError(b"\x01" * 8, b"\x02" * 8)

    again = pickle.loads(pickle.dumps(error))

    assert (again.found, again.expected, str(again)) == (error.found, error.expected, str(error))
