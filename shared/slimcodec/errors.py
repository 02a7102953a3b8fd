"""What can go wrong in the codec.

CodecError
├── BitstreamError                 the bytes are bad (never raised for failed I/O)
│   ├── NotAContainerError         no magic at the start
│   ├── UnsupportedVersionError    a version or prior of the future
│   ├── TruncatedContainerError    the bytes end too early
│   ├── DamagedContainerError      checksum, header or entropy-coded data contradict themselves
│   ├── ContainerLimitError        well formed, but larger than this reader allows
│   └── FingerprintMismatchError   made with another model
├── ImageError                     a picture that cannot be read, encoded or written
└── ModelError                     an artifact that is missing, incomplete or altered
"""


class CodecError(Exception):
    """Base of everything that this package raises on purpose."""


class BitstreamError(CodecError):
    """Bytes that are not a container which this build and model can decode."""


class NotAContainerError(BitstreamError):
    """The bytes do not start with the container's magic."""


class UnsupportedVersionError(BitstreamError):
    """The container was written by a newer (or unknown) build."""

    def __init__(self, found: int, supported: int, what: str = "version") -> None:
        super().__init__(
            f"container {what} {found}; this build reads up to {supported}; update the reader"
        )
        self.found = found
        self.supported = supported


class TruncatedContainerError(BitstreamError):
    """The bytes end before the container does."""


class DamagedContainerError(BitstreamError):
    """A checksum does not match, or fields contradict each other."""


class ContainerLimitError(BitstreamError):
    """A field exceeds a limit of the format or of this reader."""


class FingerprintMismatchError(BitstreamError):
    """The container was made with another model than the one at hand."""

    def __init__(self, found: bytes, expected: bytes) -> None:
        super().__init__(
            f"container made with model {found.hex()}; this decoder has model {expected.hex()}; "
            "load the model that made it, or encode again with this one"
        )
        self.found = found
        self.expected = expected

    def __reduce__(self) -> tuple[type["FingerprintMismatchError"], tuple[bytes, bytes]]:
        return type(self), (self.found, self.expected)


class ImageError(CodecError):
    """A picture cannot be read, is of an unsupported kind, or is too large."""


class ModelError(CodecError):
    """A model artifact is missing, incomplete, altered, or of another kind."""
