"""Signatures over pictures that Calotype made (C2PA content credentials), with a certificate and a key of the user's own.

A marker can be removed and forged; a signature cannot be forged, and a change of the picture breaks it. Needs the extra ``provenance``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from calotype.data.samples import Content
from calotype.errors import UserError, printable
from calotype.files import parse_json, read_bytes, replacing
from calotype.provenance.embed import Origin
from calotype.provenance.marker import Marker
from calotype.provenance.xmp import CODES
from calotype.tasks.trace import marked_picture

Algorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]
"""Of a signature, as the key has it: elliptic curves, RSA, Edwards curve (C2PA 2.1, section 13.2)."""

_PEM = 1 << 20  # bytes of a certificate chain or a key at most


def sign(
    images: str | Path | Sequence[str | Path],
    certificate: str | Path,
    key: str | Path,
    *,
    algorithm: Algorithm = "es256",
    timestamp: str | None = None,
) -> list[Path]:
    """Sign pictures that carry a marker; each signed file takes the place of its picture, whole or not at all.

    Args:
        images: The file of a picture, or several.
        certificate: A PEM file of the certificate, those that vouch for it behind it.
        key: A PEM file of its private key.
        algorithm: Of the signature, which must be that of the key.
        timestamp: The address of a timestamp authority (RFC 3161) that is asked for the time; none is asked where none is given.

    Returns:
        Where the signed pictures are.

    Raises:
        UserError: without the package c2pa-python, for a picture without a marker, and for certificates and keys that do not sign.
    """
    c2pa = _package()
    paths = [Path(name) for name in ([images] if isinstance(images, str | Path) else images)]
    chain, secret = _pem(Path(certificate), "certificate"), _pem(Path(key), "key")
    found = [(path, *_marked(path)) for path in paths]
    try:
        info = c2pa.C2paSignerInfo(algorithm, chain, secret, timestamp)
        signer = c2pa.Signer.from_info(info)
    except (c2pa.C2paError, ValueError) as error:
        raise UserError(f"`certificate` and `key` cannot sign ({_words(error)}): do they fit `algorithm={algorithm}`?") from None
    for path, origin, content in found:
        kind = Image.MIME[content.image.format or "PNG"]
        out = io.BytesIO()
        try:
            c2pa.Builder(_manifest(origin.marker, path.name, kind)).sign(signer, kind, io.BytesIO(path.read_bytes()), out)
        except c2pa.C2paError as error:
            raise UserError(f"{path} cannot be signed ({_words(error)})") from None
        with replacing(path) as stream:
            stream.write(out.getvalue())
    return paths


def _manifest(marker: Marker, title: str, kind: str) -> dict[str, Any]:
    """What is signed besides the picture: how it came to be, and its marker."""
    made = {"action": "c2pa.created", "softwareAgent": {"name": "Calotype", "version": marker.version}}
    made |= {"digitalSourceType": CODES + marker.source_type} if marker.source_type else {}
    return {
        "claim_generator_info": [{"name": "Calotype", "version": marker.version}],
        "title": title,
        "format": kind,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [made]}},
            {"label": "calotype.marker", "data": parse_json(marker.text)},
        ],
    }


def _marked(path: Path) -> tuple[Origin, Content]:
    try:
        return marked_picture(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _package() -> Any:
    if find_spec("c2pa") is None:
        raise UserError("signing needs the package c2pa-python (pip install c2pa-python)")
    return import_module("c2pa")


def _pem(path: Path, what: str) -> bytes:
    try:
        return read_bytes(path, _PEM)
    except (OSError, ValueError) as error:
        raise UserError(f"the {what} {path} cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _words(error: Exception) -> str:
    return printable((str(error).splitlines() or [""])[0])[:200]
