"""What a container must be for a model, and what codes its sections.

context                  `slimcodec.context.coder`
factorized, hyperprior   `slimcodec.whole_sections`
"""

from typing import TypeAlias

from slimcodec.container import Container, parse_container
from slimcodec.context.changes import DEFAULT_HYSTERESIS, Hysteresis
from slimcodec.context.coder import ContextCoder
from slimcodec.errors import (
    ContainerLimitError,
    DamagedContainerError,
    FingerprintMismatchError,
    MissingReferenceError,
)
from slimcodec.graph.runtime import Runtime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.symbols import MAX_DEPTH, FrameSymbols, check_holds
from slimcodec.whole_sections import FactorizedSections, HyperpriorSections, check_sections


def parse_for(
    artifact: CodecArtifact,
    bitstream: bytes,
    max_pixels: int,
    image_hw: tuple[int, int] | None = None,
) -> Container:
    """Return a container that this codec may have made; its symbols are not decoded yet.

    `image_hw` is that of the frame which an inter container or an enhancement of version 3 needs.

    Ingest and the decoder ask this one list, so what ingest takes is refused later for one reason
    only: entropy-coded symbols that contradict their tables. Those show when they are decoded, at a
    hundred to a thousand times the cost (`docs/decisions/0021-one-check.md`).

    Raises:
        BitstreamError: it is damaged, of another model, or larger than allowed.
    """
    container = parse_container(bitstream, artifact.fingerprint, image_hw)
    manifest = artifact.manifest
    if container.fingerprint != artifact.fingerprint:
        raise FingerprintMismatchError(
            f"container made with model {container.fingerprint.hex()}; this decoder has model "
            f"{artifact.fingerprint.hex()}; load the model that made it, or encode again with this "
            "one"
        )
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
    if artifact.context is None:
        check_sections(container, artifact)
    elif not container.is_inter:
        latent_h, latent_w = artifact.latent_hw(container.image_hw)
        for section in container.sections:
            symbols = len(artifact.latent_layout.carried(section.group)) * latent_h * latent_w
            check_holds(section, symbols * artifact.context.least_bits)
    return container


def check_reference(reference: FrameSymbols, artifact: CodecArtifact) -> None:
    """Refuse a reference that no frame of this codec can have.

    Raises:
        MissingReferenceError: it is of another model, or has too many before it.
    """
    if reference.fingerprint != artifact.fingerprint:
        raise MissingReferenceError(
            f"reference made with model {reference.fingerprint.hex()}; this codec is "
            f"{artifact.fingerprint.hex()}"
        )
    if reference.depth >= MAX_DEPTH:
        raise MissingReferenceError(
            f"reference with {reference.depth} before it; at most {MAX_DEPTH} may be, code a "
            "picture alone"
        )


def check_digest(container: Container, needed: FrameSymbols) -> None:
    """Refuse symbols that are not those which a container names.

    Raises:
        MissingReferenceError: they are others.
    """
    if container.reference != needed.digest:
        found = (container.reference or b"").hex()
        raise MissingReferenceError(
            f"container needs the frame with the symbols {found}; the one that was given has "
            f"{needed.digest.hex()}"
        )


def check_enhances(
    enhancement: Container,
    *,
    level: int,
    quality: float,
    image_hw: tuple[int, int],
    is_inter: bool,
) -> None:
    """Refuse a container that no base of such a level, quality and size goes with.

    An enhancement adds channel groups to its base. With the context prior another container of the
    same picture may take its place, which refers to the base or decodes alone.

    Raises:
        DamagedContainerError: it does not belong to that base.
    """
    its = (enhancement.level, enhancement.quality)
    if enhancement.image_hw != image_hw:
        raise DamagedContainerError(
            f"enhancement of a picture with height and width {enhancement.image_hw}, its base has "
            f"{image_hw}; they are of different pictures"
        )
    if not enhancement.is_enhancement:
        if enhancement.prior != "context" or its[0] < level or its[1] < quality:
            raise DamagedContainerError(
                f"base container of level {its[0]} and quality {its[1]:g} given as the enhancement "
                f"of one of level {level} and quality {quality:g}"
            )
        return
    if (enhancement.first_group, its[1], enhancement.is_inter) != (level + 1, quality, is_inter):
        kinds = {True: "inter", False: "intra"}
        raise DamagedContainerError(
            f"{kinds[enhancement.is_inter]} enhancement from group {enhancement.first_group} at "
            f"quality {its[1]:g}; its {kinds[is_inter]} base of level {level} and quality "
            f"{quality:g} needs group {level + 1} next, at the same quality"
        )


SectionCoder: TypeAlias = FactorizedSections | HyperpriorSections | ContextCoder


def build_section_coder(
    artifact: CodecArtifact, runtime: Runtime, hysteresis: Hysteresis = DEFAULT_HYSTERESIS
) -> SectionCoder:
    """Return the coder that the artifact's prior asks for; with the context prior, hysteresis."""
    if artifact.context is not None:
        widths = artifact.latent_layout.widths
        return ContextCoder(artifact.context, artifact.tables.gain, widths, hysteresis)
    if artifact.manifest.prior == "hyperprior":
        return HyperpriorSections(artifact, runtime)
    return FactorizedSections(artifact)
