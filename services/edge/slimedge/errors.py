"""What can go wrong at the edge, for good.

    EdgeError
    ├── CameraError          the source cannot be opened or holds no pictures
    │   └── CameraLostError  it worked and went away; the camera thread opens it again
    │       └── CameraRefusedError  it refuses the password; it is asked again ever more rarely
    ├── UndeliveredError     the source has ended, and the cloud got none of its pictures, or not
    │                        all of a recording
    ├── StoppedError         a recording was stopped before its end
    ├── ModelMismatchError   the cloud reads another model; names both fingerprints
    └── RefusedError         the cloud refuses this camera for a reason that retrying cannot mend

A lost link is no error: the uplink connects again, and says so in its state.
"""


class EdgeError(Exception):
    """Base of everything that slimedge raises itself."""


class CameraError(EdgeError):
    """The source of pictures cannot be used."""


class CameraLostError(CameraError):
    """A source that worked has gone away."""


class CameraRefusedError(CameraLostError):
    """A camera that refuses the password; asked often, some lock the user out."""


class UndeliveredError(EdgeError):
    """The source has ended, and the cloud got none of its pictures, or not all of a recording."""


class StoppedError(EdgeError):
    """A recording was stopped before its end."""


class ModelMismatchError(EdgeError):
    """The cloud reads another model than this edge writes."""

    def __init__(self, edge_fingerprint: bytes, cloud_detail: str) -> None:
        super().__init__(
            f"this edge's model has fingerprint {edge_fingerprint.hex()}; the cloud answered: "
            f"{cloud_detail}; install the same model on both sides"
        )


class RefusedError(EdgeError):
    """The cloud ended the stream with a status that will not change by itself."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(f"the cloud refused this camera: {status}: {detail}")
        self.status = status
