"""Which frame refers to which: keys, losses, late answers, refinement."""

from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from slimcodec.decode import Decoder
from slimcodec.encode import Encoder
from slimcodec.errors import MissingReferenceError
from slimcodec.graph.openvino_runtime import OpenVinoRuntime
from slimcodec.model.artifact import CodecArtifact
from slimcodec.model.load import load_codec_artifact
from slimcodec.sequence import HELD_FRAMES, ReceivedFrame, SentFrame, SequenceDecoder
from slimcodec.sequence import SequenceEncoder as Sequence
from support.models.toy_artifact import make_image, make_toy_codec

HW = (72, 120)
WIDEST, FINEST = 3, 5
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> CodecArtifact:
    return load_codec_artifact(make_toy_codec(tmp_path_factory.mktemp("context"), prior="context"))


@pytest.fixture(scope="module")
def encoder(context: CodecArtifact, runtime: OpenVinoRuntime) -> Encoder:
    return Encoder(context, runtime)


@pytest.fixture
def reader(context: CodecArtifact, runtime: OpenVinoRuntime) -> SequenceDecoder:
    return SequenceDecoder(Decoder(context, runtime))


def moving(count: int, until: int = 10_000) -> Iterator[Image]:
    """A box of noise moves over a scene, up to some picture."""
    scene = make_image(*HW)
    for t in range(count):
        x = 8 * min(t, until) % 80
        shown = scene.copy()
        shown[24:44, x : x + 20] = np.random.default_rng(1).integers(0, 256, (20, 20, 3))
        yield shown


def arrives(sequence: Sequence, reader: SequenceDecoder, sent: SentFrame) -> ReceivedFrame:
    """Deliver a frame at once; both sides hold the same then."""
    sequence.received(sent)
    read = reader.decode(sent.encoded.bitstream)
    assert read.symbols is not None
    assert sent.encoded.symbols is not None
    assert read.symbols.digest == sent.encoded.symbols.digest
    assert (read.kind, read.activity) == (sent.kind, sent.activity)
    return read


def test_the_first_is_a_key_and_the_rest_is_what_changed(
    encoder: Encoder, reader: SequenceDecoder
) -> None:
    sequence = Sequence(encoder, 1, 3)
    frames = [
        arrives(sequence, reader, sequence.encode(image, t))
        for t, image in enumerate(moving(4, until=2))
    ]

    assert [f.kind for f in frames] == ["intra", "inter", "inter", "unchanged"]
    assert [f.activity == 1 for f in frames] == [True, False, False, False]
    assert frames[0].reference is None
    for before, frame in zip(frames, frames[1:], strict=False):
        assert before.symbols is not None
        assert frame.reference == before.symbols.digest


def test_a_key_comes_at_its_interval_and_where_the_clock_goes_back(encoder: Encoder) -> None:
    sequence = Sequence(encoder, 0, 2, key_interval_seconds=10)
    kinds = []
    for seconds in (0, 4, 8, 12, 16, 21, 24, 3):
        sent = sequence.encode(make_image(*HW), seconds)
        sequence.received(sent)
        kinds.append(sent.kind[:5])

    assert kinds == ["intra", "uncha", "uncha", "intra", "uncha", "uncha", "intra", "intra"]


def test_keys_may_be_finer_than_what_changes(encoder: Encoder, reader: SequenceDecoder) -> None:
    sequence = Sequence(encoder, 0, 1, key_level=WIDEST, key_quality=FINEST)
    _, read = [
        arrives(sequence, reader, sequence.encode(image, t)) for t, image in enumerate(moving(2))
    ]

    assert read.symbols is not None
    changed = read.symbols.changed
    assert changed.any()
    assert (read.symbols.levels == np.where(changed, 0, WIDEST)).all()
    assert (read.symbols.qualities == np.where(changed, 1, FINEST) * 256).all()


def test_a_lost_frame_is_referred_to_by_none(encoder: Encoder, reader: SequenceDecoder) -> None:
    sequence, random = Sequence(encoder, 0, 2), Random(0)
    kinds: list[str] = []
    in_flight: list[tuple[SentFrame, bool]] = []
    for t, image in enumerate(moving(40)):
        for sent, is_lost in in_flight:
            (sequence.lost if is_lost else sequence.received)(sent)
        sent = sequence.encode(image, t)
        is_lost = t == 0 or random.random() < 0.3
        in_flight = [(sent, is_lost)]
        if not is_lost:
            kinds.append(reader.decode(sent.encoded.bitstream).kind)

    assert kinds[0] == "intra"
    assert set(kinds[1:]) == {"inter"}


def test_a_lost_key_is_made_again(encoder: Encoder) -> None:
    sequence = Sequence(encoder, 0, 2, key_interval_seconds=10)
    pictures = moving(4)
    first = sequence.encode(next(pictures), 0)
    sequence.received(first)

    second = sequence.encode(next(pictures), 10)
    sequence.lost(second)
    third = sequence.encode(next(pictures), 11)
    sequence.received(third)
    fourth = sequence.encode(next(pictures), 12)

    assert [f.is_key for f in (first, second, third, fourth)] == [True, True, True, False]


def test_what_was_sent_before_a_key_arrived_does_not_take_its_place(
    encoder: Encoder, reader: SequenceDecoder
) -> None:
    sequence = Sequence(encoder, 0, 1, 10, key_level=WIDEST, key_quality=FINEST)
    pictures = moving(6)
    before = [sequence.encode(next(pictures), t) for t in (0, 0.1)]
    for sent in before:
        reader.decode(sent.encoded.bitstream)
        sequence.received(sent)

    key, after = (sequence.encode(next(pictures), t) for t in (10, 10.1))
    for sent in (after, key):  # the older answer comes last
        reader.decode(sent.encoded.bitstream)
        sequence.received(sent)
    last = reader.decode(sequence.encode(next(pictures), 10.2).encoded.bitstream)

    assert [f.kind for f in before] == ["intra", "intra"]  # the second knew of nothing yet
    assert [f.is_key for f in before] == [True, False]
    assert (key.kind, after.kind, last.kind) == ("intra", "inter", "inter")
    assert key.encoded.symbols is not None
    assert last.reference == key.encoded.symbols.digest


def test_a_reader_that_may_have_forgotten_gets_a_key(encoder: Encoder) -> None:
    sequence = Sequence(encoder, 0, 2)
    image = make_image(*HW)
    sequence.received(sequence.encode(image, 0))

    kinds = [sequence.encode(image, 1).kind for _ in range(HELD_FRAMES + 2)]

    assert kinds == ["unchanged"] * HELD_FRAMES + ["intra"] * 2
    assert [sequence.encode(make_image(50, 50), 2).is_key] == [False]


def test_a_bounded_depth_needs_no_key_and_half_of_all_refer_to_the_frame_before(
    encoder: Encoder,
) -> None:
    sequence = Sequence(encoder, 0, 2, max_depth=3)
    image, named = make_image(*HW), []
    for t in range(20):
        sent = sequence.encode(image, t, number=100 + t)
        sequence.received(sent)
        named.append(sent.reference and sent.reference.number - 100)
        assert sent.encoded.symbols is not None
        assert sent.encoded.symbols.depth == min(t.bit_count(), 3)

    assert named[0] is None
    assert named[1:15] == [n & (n - 1) for n in range(1, 15)]
    assert named[15:] == [12, 0, 16, 16, 18]  # 13 and 14 are as deep as may be


def test_late_answers_make_nothing_deeper(encoder: Encoder) -> None:
    sequence, random = Sequence(encoder, 0, 2, max_depth=4), Random(1)
    image, depths, in_flight = make_image(*HW), [], []
    for t in range(60):
        sent = sequence.encode(image, t)
        in_flight.append(sent)
        random.shuffle(in_flight)
        for _ in range(random.randrange(len(in_flight) + 1)):
            sequence.received(in_flight.pop())
        assert sent.encoded.symbols is not None
        depths.append(sent.encoded.symbols.depth)

    assert max(depths) <= 4
    assert depths[5:].count(0) == 0


def test_what_was_sent_before_all_was_forgotten_is_named_by_none(encoder: Encoder) -> None:
    sequence, image = Sequence(encoder, 0, 2, max_depth=8), make_image(*HW)
    sequence.received(sequence.encode(image, 0))
    before = sequence.encode(image, 1)

    sequence.forget()
    sequence.received(before)
    key, after = sequence.encode(image, 2), sequence.encode(image, 3)
    sequence.received(key)
    last = sequence.encode(image, 4)

    named = [f.reference and f.reference.number for f in (before, key, after, last)]
    assert named == [1, None, None, key.number]
    assert key.is_key


def test_depth_zero_codes_each_alone(encoder: Encoder) -> None:
    sequence = Sequence(encoder, 0, 2, max_depth=0)
    for t in range(3):
        sent = sequence.encode(make_image(*HW), t)
        sequence.received(sent)
        assert sent.kind == "intra"


def test_another_size_begins_with_a_key(encoder: Encoder, reader: SequenceDecoder) -> None:
    sequence = Sequence(encoder, 0, 2)
    arrives(sequence, reader, sequence.encode(make_image(*HW), 0))

    other = sequence.encode(make_image(40, 50), 1)

    assert other.is_key
    assert arrives(sequence, reader, other).latent.image_hw == (40, 50)


def test_what_stood_still_is_brought_to_the_keys_point(
    encoder: Encoder, reader: SequenceDecoder
) -> None:
    sequence = Sequence(encoder, 0, 1, key_level=WIDEST, key_quality=FINEST, refine_after_seconds=2)
    refined = []
    for t, image in enumerate(moving(9, until=3)):
        sent = sequence.encode(image, t)
        finer = sequence.refine(image, t)
        read = arrives(sequence, reader, sent)
        if finer is not None:
            refined.append(t)
            assert finer.refines
            assert read.symbols is not None
            moves = read.symbols.changed
            read = arrives(sequence, reader, finer)
            assert read.symbols is not None
            assert not (read.symbols.changed & moves).any()
            assert (read.symbols.levels[read.symbols.changed] == WIDEST).all()

    assert refined == [4, 6]  # what the box had left, and the box; never more often
    assert read.symbols is not None
    assert (read.symbols.levels == WIDEST).all()
    assert (read.symbols.qualities == FINEST * 256).all()
    assert read.kind == "unchanged"


def test_a_lost_refinement_is_made_again_and_one_on_its_way_is_not(encoder: Encoder) -> None:
    sequence = Sequence(encoder, 0, 1, key_level=WIDEST, key_quality=FINEST, refine_after_seconds=2)
    pictures = list(moving(2))
    for t, image in enumerate(pictures):
        sequence.received(sequence.encode(image, t))
    for t in (2, 3):
        sequence.received(sequence.encode(pictures[1], t))

    first = sequence.refine(pictures[1], 3)
    waiting = sequence.refine(pictures[1], 9)
    assert first is not None
    sequence.lost(first)
    again = sequence.refine(pictures[1], 9)

    assert waiting is None
    assert again is not None
    assert again.refines


def test_without_its_reference_a_frame_is_refused_until_the_next_key(
    encoder: Encoder, reader: SequenceDecoder
) -> None:
    sequence = Sequence(encoder, 0, 2, key_interval_seconds=3)
    outcomes: list[str] = []
    for t, image in enumerate(moving(5)):
        sent = sequence.encode(image, t)
        sequence.received(sent)
        if t == 1:
            continue  # it is damaged in the file: the sender does not know
        try:
            outcomes.append(reader.decode(sent.encoded.bitstream).kind)
        except MissingReferenceError:
            outcomes.append("missing")

    assert outcomes == ["intra", "missing", "intra", "inter"]


@pytest.mark.parametrize("seed", range(4))
def test_containers_that_come_twice_or_late_are_read_or_refused(
    encoder: Encoder, reader: SequenceDecoder, seed: int
) -> None:
    sequence, sent = Sequence(encoder, 1, 3), []
    for t, image in enumerate(moving(8)):
        sent.append(sequence.encode(image, t))
        sequence.received(sent[-1])
    order = [number % 8 for number in range(16)]
    Random(seed).shuffle(order)
    known: set[bytes] = set()
    for number in order:
        symbols, reference = sent[number].encoded.symbols, sent[number].reference
        assert symbols is not None
        if reference is None or reference.symbols.digest in known:
            read = reader.decode(sent[number].encoded.bitstream)

            assert read.symbols is not None
            assert read.symbols.digest == symbols.digest
            known.add(symbols.digest)
        else:
            with pytest.raises(MissingReferenceError):
                reader.decode(sent[number].encoded.bitstream)


def test_a_codec_without_the_context_prior_codes_each_alone(
    codec: CodecArtifact, runtime: OpenVinoRuntime
) -> None:
    sequence = Sequence(Encoder(codec, runtime), 0, 2, refine_after_seconds=1)
    reader = SequenceDecoder(Decoder(codec, runtime))
    for t in range(4):
        sent = sequence.encode(make_image(*HW), t)
        sequence.received(sent)

        read = reader.decode(sent.encoded.bitstream)

        assert (read.kind, read.activity, read.reference) == ("intra", 1.0, None)
        assert sequence.refine(make_image(*HW), t) is None


def test_what_stands_still_is_not_coded_again_because_a_frame_is_finer(encoder: Encoder) -> None:
    sequence, image = Sequence(encoder, 0, 1), make_image(*HW)
    sequence.received(sequence.encode(image, 0))

    sequence.level, sequence.quality = WIDEST, FINEST
    finer = sequence.encode(image, 1)

    assert finer.kind == "unchanged"
