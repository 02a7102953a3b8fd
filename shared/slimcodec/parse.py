"""Containers held against the model that they claim: all that is known of them without decoding.

Ingest and the decoder ask this one list, so what ingest takes is refused later for one reason only:
entropy-coded symbols that contradict their tables. Those show when they are decoded, which takes a
hundred to a thousand times as long as this (`docs/decisions/0021-one-check.md`).
"""

from slimcodec.container import Container, parse_container, split_hyper
from slimcodec.entropy.coder import split_coded
from slimcodec.errors import (
    ContainerLimitError,
    DamagedContainerError,
    FingerprintMismatchError,
)
from slimcodec.model.artifact import CodecArtifact


def parse_for(artifact: CodecArtifact, bitstream: bytes, max_pixels: int) -> Container:
    """Return a container that this codec may have made; its symbols are not decoded yet.

    Raises:
        BitstreamError: it is damaged, of another model, or larger than allowed.
    """
    container, manifest = parse_container(bitstream), artifact.manifest
    if container.fingerprint != artifact.fingerprint:
        raise FingerprintMismatchError(container.fingerprint, artifact.fingerprint)
    h, w = container.image_hw
    if h * w > max_pixels:
        raise ContainerLimitError(
            f"picture is {w}x{h} = {h * w} pixels; at most {max_pixels} are allowed; "
            "send a smaller picture or raise max_pixels"
        )
    if container.level > artifact.widest_level or container.quality > manifest.qualities - 1:
        raise DamagedContainerError(
            f"level {container.level} and quality {container.quality:g}; {manifest.label} has "
            f"levels 0..{artifact.widest_level}, qualities 0..{manifest.qualities - 1}"
        )
    if (container.streams, container.prior) != (manifest.streams, manifest.prior):
        raise DamagedContainerError(
            f"{container.streams} streams and {container.prior} prior; {manifest.label} has "
            f"{manifest.streams} streams and {manifest.prior} prior"
        )
    latent_h, latent_w = artifact.latent_hw(container.image_hw)
    is_hyper = container.prior == "hyperprior"
    for section in container.sections:
        expected = len(artifact.latent_layout.carried(section.group)) * latent_h * latent_w
        if section.symbol_count != expected:
            raise DamagedContainerError(
                f"group {section.group} has {section.symbol_count} symbols; a picture of "
                f"{w}x{h} has {expected}"
            )
        for coded in split_hyper(section) if is_hyper else (section.data,):
            split_coded(coded)
    return container
