"""`slimwire certs` and `slimwire token`: what cameras and people prove themselves with.

For a deployment use the authority that you have; the names below are all that Slimwire asks for.

    DIR/ca.pem, ca-key.pem                  the authority; made once, used again
    DIR/cloud.pem, cloud-key.pem            for CLOUD_TLS_CERT, CLOUD_TLS_KEY
    DIR/camera-<id>.pem, camera-<id>-key.pem   for EDGE_TLS_CERT, EDGE_TLS_KEY
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from slimcli.exits import BadUsageError, needs_extra
from slimcli.options import Force
from slimcli.streams import refuse_existing, say
from slimcloud.roles import AccessRole

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def certs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    cloud: Annotated[
        list[str] | None,
        typer.Option(help="Host name or address of the cloud, besides localhost; repeatable."),
    ] = None,
    camera: Annotated[
        list[str] | None, typer.Option(help="Id of a camera that gets a certificate; repeatable.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=825, help="For which they are valid.")] = 365,
    force: Force = False,
) -> None:
    """Make a development CA and certificates that it signs."""
    with needs_extra("certs", "certs"):
        from cryptography import x509

        from slimcli.run.certificate import Certificate, host_name, sign
        from slimcloud.frame_id import CAMERA_ID_PATTERN
        from slimcloud.ingest.auth import CAMERA_URI
    leaves: dict[str, list[x509.GeneralName]] = {}
    for name in camera or ():
        if not re.fullmatch(CAMERA_ID_PATTERN, name):
            raise BadUsageError(
                f"--camera {name!r}: expected an id of the form {CAMERA_ID_PATTERN}"
            )
        leaves[f"camera-{name}"] = [x509.UniformResourceIdentifier(f"{CAMERA_URI}{name}")]
    has_authority = (folder / "ca.pem").exists()
    if not cloud and not camera and has_authority:
        raise BadUsageError(f"{folder} has a CA already; give a --camera or a --cloud to sign")
    if cloud or not (folder / "cloud.pem").exists():
        hosts = dict.fromkeys([*LOCAL_NAMES, *(cloud or ())])
        leaves["cloud"] = [host_name(name) for name in hosts]
    folder.mkdir(parents=True, exist_ok=True)
    for stem in leaves:
        refuse_existing(folder / f"{stem}.pem", force=force)
    if has_authority:
        authority = Certificate.read(folder, "ca")
    else:
        authority = sign("Slimwire development CA", days, [], None)
        authority.write(folder, "ca")
    for stem, names in leaves.items():
        sign(stem, days, names, authority).write(folder, stem)
        say(f"{folder / stem}.pem: {', '.join(str(name.value) for name in names)}")


def token(
    role: Annotated[AccessRole, typer.Argument(help="What it is good for.")],
    name: Annotated[str, typer.Argument(help="Whose it is; of a camera: its id.")],
) -> None:
    """Print a new token. On standard error: its line for the file of CLOUD_TOKENS_FILE."""
    with needs_extra("cloud", "token"):
        from slimcloud.tokens import TokenTable, make_token, token_digest

    made = make_token()
    line = f"{role.value} {name} {token_digest(made)}"
    try:
        TokenTable.parse(line)
    except ValueError as exc:
        raise BadUsageError(str(exc)) from exc
    say(made)
    typer.echo(line, err=True)
