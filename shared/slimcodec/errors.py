"""What can go wrong in the codec.

CodecError
├── BitstreamError                 the bytes are bad (never raised for failed I/O)
│   ├── NotAContainerError         no magic at the start
│   ├── UnsupportedVersionError    a version or prior of the future
│   ├── TruncatedContainerError    the bytes end too early
│   ├── DamagedContainerError      checksum, header or entropy-coded data contradict themselves
│   ├── ContainerLimitError        well formed, but larger than this reader allows
│   ├── FingerprintMismatchError   made with another model
│   ├── MissingReferenceError      needs the symbols of a frame that was not given
│   └── StreamError                a stream file's header is damaged, or a record is of another one
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


class TruncatedContainerError(BitstreamError):
    """The bytes end before the container does."""


class DamagedContainerError(BitstreamError):
    """A checksum does not match, or fields contradict each other."""


class ContainerLimitError(BitstreamError):
    """A field exceeds a limit of the format or of this reader."""


class FingerprintMismatchError(BitstreamError):
    """The container was made with another model than the one at hand."""


class MissingReferenceError(BitstreamError):
    """The container is coded against a frame that was not given, or against another one."""


class StreamError(BitstreamError):
    """A stream file cannot be read, or one of its containers does not belong there."""


class ImageError(CodecError):
    """A picture cannot be read, is of an unsupported kind, or is too large."""


class ModelError(CodecError):
    """A model artifact is missing, incomplete, altered, or of another kind."""
