"""The C2PA manifest (content credentials) in a picture's file: that it is there, and whether its signature holds."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from calotype.errors import printable

_BOX = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
"""How the description box of a manifest store begins in every format (C2PA 2.1, section 11.1.4.2; ISO 19566-5)."""

_OFFLINE = '{"verify": {"remote_manifest_fetch": false}}'
"""Settings of the package: an address in a file of anybody is not asked."""

UNTRUSTED = "signingCredential.untrusted"

ManifestState = Literal["not verified", "valid", "invalid"]


@dataclass(frozen=True)
class ManifestReading:
    """What a C2PA manifest in a file is worth."""

    state: ManifestState
    signer: str = ""  # who signed, as the certificate says
    problems: tuple[str, ...] = ()  # codes of what is wrong (C2PA 2.1, section 15.2), or why it could not be verified
    trusted: bool = False  # whether its certificate comes from an authority that the package trusts

    @property
    def words(self) -> str:
        """One line."""
        by = f", signed by {self.signer}" if self.signer else ""
        match self.state:
            case "not verified":
                return f"a C2PA manifest is there and not verified: {', '.join(self.problems)}"
            case "invalid":
                return f"its C2PA manifest does not hold{by}: {', '.join(self.problems)}"
            case "valid":
                known = "" if self.trusted else ", with a certificate from no authority that is trusted here"
                return f"its C2PA manifest holds{by}{known}"


def manifest_of(data: bytes, kind: str) -> ManifestReading | None:
    """What the manifest in a file is worth, which is of the media type ``kind``; None where there is none."""
    if _BOX not in data:
        return None
    if find_spec("c2pa") is None:
        return ManifestReading("not verified", problems=("that takes the package c2pa-python (pip install c2pa-python)",))
    c2pa: Any = import_module("c2pa")
    kind = {"image/mpo": "image/jpeg"}.get(kind, kind)  # several JPEG images in one file, the first of which has the manifest
    if not kind or kind not in c2pa.Reader.get_supported_mime_types():
        return ManifestReading("not verified", problems=(f"c2pa-python does not read {kind or 'this format'}",))
    try:
        with _reader(c2pa, kind, data) as reader:
            found = json.loads(reader.json())
    except (c2pa.C2paError, ValueError) as error:
        told = printable((str(error).splitlines() or ["it cannot be read"])[0])[:200]
        if told.startswith("Remote"):  # it lies at an address that the file names, which is not asked
            return ManifestReading("not verified", problems=(told,))
        return ManifestReading("invalid", problems=(told,))
    signer = ""
    with suppress(LookupError, TypeError):
        signer = printable(str(found["manifests"][found["active_manifest"]]["signature_info"]["issuer"]))[:100]
    codes = [str(one.get("code", "")) for one in found.get("validation_status") or []]
    wrong = tuple(printable(code)[:80] for code in dict.fromkeys(codes) if code != UNTRUSTED)
    return ManifestReading("invalid" if wrong else "valid", signer, wrong, trusted=UNTRUSTED not in codes and not wrong)


def _reader(c2pa: Any, kind: str, data: bytes) -> Any:
    """A reader of a file that fetches nothing: by a context, or in releases without one by settings of the package."""
    if hasattr(c2pa, "Context"):
        return c2pa.Reader(kind, io.BytesIO(data), context=c2pa.Context.from_json(_OFFLINE))
    if hasattr(c2pa, "load_settings"):
        c2pa.load_settings(_OFFLINE, "json")
    return c2pa.Reader(kind, io.BytesIO(data))
