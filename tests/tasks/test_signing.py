"""Signatures over pictures: they stand, and break with the picture. The keys are made here."""

from __future__ import annotations

import datetime
import json
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import calotype
from calotype.cli import main
from calotype.errors import UserError
from calotype.pictures import save, to_picture
from calotype.provenance import embed, xmp
from calotype.provenance.marker import Marker
from calotype.tasks import manifest, signing

MARKER = Marker("sample", weights="ab" * 32, seed=3, index=5, batch=(0, 64, 64))
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)


@pytest.fixture
def keys(runs: Path) -> tuple[str, str]:
    """A certificate chain and its key, of an authority that nobody knows."""
    x509 = pytest.importorskip("cryptography.x509")
    pytest.importorskip("c2pa")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def certificate(name: str, key: Any, by: str, signer: Any, authority: bool) -> Any:
        now = datetime.datetime.now(datetime.UTC)
        subject, issuer = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one), x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, one)])
            for one in (name, by)
        )
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key()).serial_number(7 + authority)
        made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=9))
        made = made.add_extension(x509.BasicConstraints(authority, None), True)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        usage = x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False)
        made = made.add_extension(usage, True)
        if not authority:
            made = made.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = certificate("own", own, "root", root, False) + certificate("root", root, "root", root, True)
    Path("chain.pem").write_bytes(chain)
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    Path("key.pem").write_bytes(own.private_bytes(serialization.Encoding.PEM, *plain))
    return "chain.pem", "key.pem"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_signature_holds_until_the_picture_changes(keys: tuple[str, str], suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    import c2pa

    path = Path(f"a{suffix}")
    save(to_picture(PIXELS), path, MARKER)
    before = np.asarray(Image.open(path))
    assert main(["sign", str(path), "--certificate", keys[0], "--key", keys[1]]) == 0
    assert capsys.readouterr().out == "1 picture signed\n"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), before)
    (found,) = calotype.trace(path)
    assert found.origin is not None
    assert found.origin.marker == MARKER

    def failures() -> set[str]:
        with c2pa.Reader(str(path)) as reader:
            manifests = json.loads(reader.json())
        active = manifests["manifests"][manifests["active_manifest"]]
        labels = {one["label"]: one["data"] for one in active["assertions"]}
        assert labels["calotype.marker"]["seed"] == 3
        assert "trainedAlgorithmicMedia" in str(labels)
        return {status["code"] for status in manifests.get("validation_status", [])} - {"signingCredential.untrusted"}

    assert failures() == set()
    assert found.manifest is not None
    assert (found.manifest.state, found.manifest.signer, found.manifest.trusted) == ("valid", "own", False)
    assert main(["trace", str(path)]) == 0
    assert "its C2PA manifest holds, signed by own, with a certificate from no authority that is trusted here" in capsys.readouterr().out
    data = bytearray(path.read_bytes())
    data[len(data) - 20 if suffix != ".tif" else 20] ^= 1
    path.write_bytes(data)
    assert failures()
    (found,) = calotype.trace(path)
    if not found.problem:  # where the change left a picture
        assert found.manifest is not None
        assert found.manifest.state == "invalid"
        assert found.manifest.problems
        assert main(["trace", str(path)]) == 1


def test_what_cannot_be_signed_is_left_as_it_is(keys: tuple[str, str], runs: Path) -> None:
    save(to_picture(PIXELS), Path("a.png"), MARKER)
    save(to_picture(PIXELS), Path("plain.png"))
    Path("no.pem").write_text("no key")
    before = Path("a.png").read_bytes()
    for images, key, tells in (
        (["a.png", "plain.png"], keys[1], "plain.png: carries no marker"),
        ("a.png", "no.pem", "cannot sign"),
        ("a.png", "nowhere.pem", "the key nowhere.pem cannot be read"),
    ):
        with pytest.raises(UserError, match=tells):
            signing.sign(images, keys[0], key)
        assert Path("a.png").read_bytes() == before


def test_a_manifest_is_named_and_not_verified_without_the_package(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(manifest, "find_spec", lambda name: None)
    info = embed.png_info(embed.png_chunks(xmp.marked(b"", MARKER), MARKER))
    info.add(b"caBX", struct.pack(">I", 60) + b"jumb" + struct.pack(">I", 30) + b"jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0")
    Image.fromarray(PIXELS).save("a.png", pnginfo=info)
    save(to_picture(PIXELS), Path("b.png"), MARKER)
    signed, plain = calotype.trace(["a.png", "b.png"])
    assert plain.manifest is None
    assert signed.manifest is not None
    assert signed.manifest.state == "not verified"
    assert main(["trace", "a.png"]) == 0
    assert "  a C2PA manifest is there and not verified: that takes the package c2pa-python" in capsys.readouterr().out


class Package:
    """The package c2pa-python as far as it reads, which does not come with a context, or does."""

    C2paError = RuntimeError

    def __init__(self, context: bool, error: str = "it was cut off") -> None:
        self.calls: list[tuple[object, ...]] = []
        if context:
            self.Context = SimpleNamespace(from_json=lambda text: ("context", text))
        else:
            self.load_settings = lambda *given: self.calls.append(given)

        def read(kind: str, stream: object, **more: object) -> None:
            self.calls.append((kind, more))
            raise RuntimeError(error)

        read.get_supported_mime_types = lambda: ["image/jpeg", "image/png"]  # type: ignore[attr-defined]
        self.Reader = read


@pytest.mark.parametrize("context", [True, False])
def test_manifests_are_read_offline_and_only_of_formats_that_the_package_knows(context: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    package, data = Package(context), b"jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71"
    monkeypatch.setattr(manifest, "find_spec", lambda name: package)
    monkeypatch.setattr(manifest, "import_module", lambda name: package)
    for kind in ("", "image/bmp"):
        found = manifest.manifest_of(data, kind)
        assert found is not None
        assert found.state == "not verified"
        assert found.problems == (f"c2pa-python does not read {kind or 'this format'}",)
    assert package.calls == []
    found = manifest.manifest_of(data, "image/mpo")
    assert found is not None
    assert (found.state, found.problems) == ("invalid", ("it was cut off",))
    offline = '{"verify": {"remote_manifest_fetch": false}}'
    if context:
        assert package.calls == [("image/jpeg", {"context": ("context", offline)})]
    else:
        assert package.calls == [(offline, "json"), ("image/jpeg", {})]
    remote = "Remote: must fetch remote manifests from url http://127.0.0.1/"
    monkeypatch.setattr(manifest, "import_module", lambda name: Package(context, remote))
    assert manifest.manifest_of(data, "image/jpeg") == manifest.ManifestReading("not verified", problems=(remote,))


def test_without_the_package_it_is_named(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(signing, "find_spec", lambda name: None)
    save(to_picture(PIXELS), Path("a.png"), MARKER)
    assert main(["sign", "a.png", "--certificate", "chain.pem", "--key", "key.pem"]) == 2
    assert capsys.readouterr().err == "calotype: signing needs the package c2pa-python (pip install c2pa-python)\n"
