"""A watermark in the noise that images start from: Gaussian shading (Yang et al. 2024), and the key that it is drawn and read by.

The signs of the starting noise follow from a key and a nonce, its sizes from the key, the seed and the number of the image. Who has not
the key sees standard normal noise, until a pattern repeats: signs and sizes are the output of an extendable-output function with a secret
prefix.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from calotype.errors import UserError
from calotype.files import creating, parse_json, read_bytes
from calotype.types import Noise

NONCES = 1 << 16
"""Patterns of signs of one key, all of which a reader tries: a nonce is not told, for what tells it could be seen or be lost."""

_SECRET = 32  # bytes
_KIND = "calotype watermark key"
_LARGEST = 1 << 16  # bytes of a file that is looked at


@dataclass(frozen=True)
class WatermarkKey:
    """The secret by which a watermark is drawn and read. Who has it can draw the watermark into anything: keep it like a password."""

    secret: bytes = field(repr=False)  # 32 random bytes

    @property
    def id(self) -> str:
        """What a marker calls the key by, 16 hexadecimal digits from which the key does not follow."""
        return hashlib.sha256(b"calotype watermark id\0" + self.secret).hexdigest()[:16]

    def nonce(self, seed: int, number: int) -> int:
        """The pattern of an image, from 0 to `NONCES` - 1: counted on from a place that the seed chooses, so that none of a seed repeats.

        Two images with one pattern would be correlated, which shows without the key.
        """
        return (int.from_bytes(self._drawn(b"nonce", seed, 0)[:8]) + number) % NONCES

    def mixed(self, seed: int, number: int) -> int:
        """The 63-bit seed of what is drawn for an image beside its starting noise, such as its label.

        PyTorch's generator on the CPU uses 32 bits of it, which can be tried out: nothing that is to stay unknown is drawn by it.
        """
        return int.from_bytes(self._drawn(b"noise", seed, number)[:8]) >> 1

    def signs(self, nonce: int, count: int) -> NDArray[np.int8]:
        """The first ``count`` signs of a pattern, (count,) of -1 and 1: SHAKE-256 (FIPS 202) of the key and the nonce."""
        stream = hashlib.shake_256(b"calotype watermark signs\0" + self.secret + struct.pack(">I", nonce)).digest(-(-count // 8))
        bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=count)
        return 2 * bits.astype(np.int8) - 1

    def sizes(self, seed: int, number: int, count: int) -> NDArray[np.float32]:
        """The first ``count`` sizes of the noise of an image, (count,), positive: absolute values of standard normal numbers.

        SHAKE-256 of the key, the seed and the number gives 32 bits for each, which the quantile function of the distribution maps: no
        generator with a short seed stands between, by which who has the weights could try out what an image was drawn from.
        """
        given = b"calotype watermark sizes\0" + self.secret + struct.pack(">QQ", seed, number)
        uniform = (np.frombuffer(hashlib.shake_256(given).digest(4 * count), ">u4") + 0.5) / 2**32
        sizes: NDArray[np.float32] = -ndtri(uniform / 2).astype(np.float32)
        return sizes

    def _drawn(self, what: bytes, seed: int, number: int) -> bytes:
        return hmac.digest(self.secret, what + struct.pack(">QQ", seed, number), "sha256")


class WatermarkedNoise(Noise):
    """The randomness of images whose starting noise carries a watermark.

    All of it follows from (key, seed, index), so that of two images with one seed, one marked and one not, nothing is alike. The starting
    noise is absolute values of standard normal numbers times the signs of the pattern: standard normal again. Asked for once more, it is
    the same; everything else is drawn from generators, one number after another.
    """

    def __init__(self, key: WatermarkKey, n: int, seed: int = 0, start: int = 0, device: torch.device | str = "cpu") -> None:
        self._key = key
        self._seed, self._numbers = seed, range(start, start + n)
        super().__init__(n, seed, start, device)

    def _mixed(self, seed: int, number: int) -> int:
        return self._key.mixed(seed, number)

    def starting(self, *shape: int) -> Tensor:
        """Standard normal noise with the signs of the patterns, (n, *shape) float32."""
        found = torch.empty(self.n, *shape)
        for row, number in zip(found, self._numbers, strict=True):
            signs = self._key.signs(self._key.nonce(self._seed, number), row.numel())
            row.copy_(torch.from_numpy(self._key.sizes(self._seed, number, row.numel()) * signs).view(shape))
        return found.to(self.device)


def make_watermark_key(path: str | Path) -> WatermarkKey:
    """A new key in a new file, which only its owner can read.

    Raises:
        UserError: where something has that name already: a key that is replaced is lost, and with it all that it marked.
        OSError: where the file cannot be written.
    """
    path, key = Path(path), WatermarkKey(secrets.token_bytes(_SECRET))
    try:
        with creating(path) as stream:
            stream.write(f'{{"kind": "{_KIND}", "id": "{key.id}", "secret": "{key.secret.hex()}"}}\n'.encode())
    except FileExistsError:
        raise UserError(f"{path} is there already, and a key that is replaced is lost: choose another name") from None
    return key


def read_key(path: str | Path) -> WatermarkKey:
    """The key in a file. Raises `UserError` for a file that cannot be read, and for what is no key."""
    try:
        facts = parse_json(read_bytes(Path(path), _LARGEST))
        if facts.get("kind") != _KIND:
            raise ValueError("it says nothing of a key")
        key = WatermarkKey(bytes.fromhex(str(facts.get("secret"))))
        if len(key.secret) != _SECRET or facts.get("id") != key.id:
            raise ValueError("it is damaged")
    except OSError as error:
        raise UserError(f"the watermark key {path} cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"{path} is no watermark key ({error}): make one with `calotype watermark key FILE`") from None
    return key


def key_of(watermark: WatermarkKey | str | Path | None) -> WatermarkKey | None:
    """A key, or that of a file; None where none is given."""
    return watermark if watermark is None or isinstance(watermark, WatermarkKey) else read_key(watermark)
