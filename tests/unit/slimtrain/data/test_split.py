"""The rule that keeps validation pictures apart."""

import hashlib
from pathlib import Path

from slimtrain.data.split import is_validation


def test_the_rule_is_the_md5_of_the_name_modulo_ten() -> None:
    names = [f"{number:012d}.jpg" for number in range(500)]

    chosen = {name for name in names if is_validation(name)}

    expected = {n for n in names if int(hashlib.md5(n.encode()).hexdigest(), 16) % 10 == 0}
    assert chosen == expected
    assert 30 < len(chosen) < 70


def test_the_folder_of_a_picture_does_not_count() -> None:
    for number in range(50):
        name = f"{number}.png"
        assert is_validation(Path("a/b") / name) == is_validation(f"elsewhere/{name}")
