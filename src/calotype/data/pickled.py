"""Pickles of dictionaries, lists, numbers, text and arrays, read without anything being imported or called.

A pickle is a program for a machine with a stack. This machine knows the opcodes that pickles of such data consist of, in protocols 0 to
5; what other pickles do by calling functions, numpy's own for its arrays among them, it does itself, for arrays of whole numbers whose
bytes and shape agree. The work is bounded by the number of steps, the memory by a small multiple of the length of the pickle.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

STEPS = 500_000  # opcodes of one pickle; a batch of CIFAR-10 has some 40,000
_MARK = object()
_STOP = ord(".")


def read_pickle(data: bytes | bytearray) -> dict[str, object]:
    """The dictionary in a pickle, its keys as text whether they were text or bytes. Arrays come out of it through `integers`.

    Raises:
        ValueError: with a few words, for everything else.
    """
    value = _Machine(data).run()
    if not isinstance(value, dict):
        raise ValueError("it holds no dictionary")
    return value


def integers(value: object) -> NDArray[np.integer]:
    """An array, or a list of numbers as one, found in a pickle. Raises ``ValueError`` for anything else."""
    if isinstance(value, _Array) and value.values is not None:
        return value.values
    if isinstance(value, list) and all(type(entry) is int and -(2**63) <= entry < 2**63 for entry in value):
        return np.array(value, np.int64)
    raise ValueError("it holds something else than whole numbers")


@dataclass(frozen=True)
class _Name:
    """What a pickle asks for by module and name."""

    module: str
    name: str


@dataclass
class _Type:
    """An integer type: its code in numpy without the order of its bytes, and that order."""

    code: str
    order: str = "|"

    @property
    def dtype(self) -> np.dtype[np.integer]:
        return np.dtype(self.order + self.code)


@dataclass
class _Array:
    """An array that its state may still be missing from."""

    values: NDArray[np.integer] | None = None


@dataclass
class _Machine:
    data: bytes | bytearray
    place: int = 0
    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    copied: int = 0  # bytes made of others

    def run(self) -> object:
        for _ in range(STEPS):
            code = self.data[self.place] if self.place < len(self.data) else -1
            self.place += 1
            step = _OPCODES.get(code)
            if step is not None:
                step(self)
            elif code == _STOP:
                return self.pop()
            else:
                raise ValueError("it is cut off" if code < 0 else f"it holds opcode 0x{code:02x}, which no data set needs")
        raise ValueError(f"it has more than {STEPS:,} steps")

    def take(self, count: int) -> memoryview:
        """The next bytes, which stay where they are."""
        if not 0 <= count <= len(self.data) - self.place:
            raise ValueError("it is cut off")
        self.place += count
        return memoryview(self.data)[self.place - count : self.place]

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def line(self) -> str:
        end = self.data.find(b"\n", self.place)
        text = str(self.take(end - self.place), "latin-1")
        self.place += 1
        return text

    def pop(self) -> object:
        return self.last(1)[0]

    def top(self) -> object:
        self.stack.append(value := self.pop())
        return value

    def marked(self) -> list[object]:
        """Everything above the last mark, which goes as well."""
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _MARK:
                values = self.stack[start + 1 :]
                del self.stack[start:]
                return values
        raise ValueError("it lacks a mark")

    def last(self, count: int) -> tuple[object, ...]:
        if len(self.stack) < count or any(value is _MARK for value in self.stack[-count:]):
            raise ValueError("its stack runs empty")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def append(self, values: Sequence[object]) -> None:
        if not isinstance(into := self.top(), list):
            raise ValueError("it appends to what is no list")
        into.extend(values)

    def set(self, values: list[object]) -> None:
        if not isinstance(into := self.top(), dict):
            raise ValueError("it sets entries of what is no dictionary")
        into.update(_dictionary(values))

    def keep(self, index: int) -> None:
        self.memo[index] = self.top()

    def fetch(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError("it fetches what it never kept")
        self.stack.append(self.memo[index])

    def called(self) -> object:
        name, values = self.last(2)
        if not isinstance(name, _Name) or not isinstance(values, tuple):
            raise ValueError("it calls what is no name")
        if name.module == "_codecs" and name.name == "encode" and len(values) == 2 and isinstance(values[0], str):
            self.copied += len(values[0])
            if _text(values[1]) != "latin1" or self.copied > len(self.data):
                raise ValueError("it encodes text in a way that no data set needs")
            return memoryview(values[0].encode("latin-1"))
        if name == _Name("numpy", "dtype") and values:
            return _Type(_code(values[0]))
        if name.name == "_reconstruct" and name.module in _ARRAYS:
            return _Array()
        if name.name == "_frombuffer" and name.module in _BUFFERS and len(values) == 4:
            return _Array(_array(values[0], values[1], values[2], _text(values[3]) == "F"))
        raise ValueError(f"it asks for {name.module}.{name.name}, which no data set needs")

    def build(self) -> None:
        state = self.pop()
        into = self.top()
        if isinstance(into, _Array) and isinstance(state, tuple) and len(state) == 5:
            into.values = _array(state[4], state[2], state[1], bool(state[3]))
        elif isinstance(into, _Type) and isinstance(state, tuple) and len(state) >= 2 and _text(state[1]) in ("<", ">", "|"):
            into.order = _text(state[1])
        else:
            raise ValueError("it gives a state that no data set needs")


_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")


def _text(value: object) -> str:
    """Text from text or bytes: keys, names of types."""
    if isinstance(value, str) and len(value) < 1000:
        return value
    if isinstance(value, memoryview) and len(value) < 1000:
        return str(value, "latin-1")
    raise ValueError("it has something else where a name belongs")


def _code(value: object) -> str:
    code = _text(value)
    if code not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
        raise ValueError(f"it holds an array of {code[:20]!r}, not of whole numbers")
    return code


def _array(data: object, kind: object, shape: object, columns_first: bool) -> NDArray[np.integer]:
    """Bytes as an array, without a copy."""
    if not isinstance(data, memoryview) or not isinstance(kind, _Type):
        raise ValueError("it holds an array of something else than bytes")
    if not isinstance(shape, tuple) or len(shape) > 4 or not all(type(side) is int and 0 <= side < 2**40 for side in shape):
        raise ValueError("it holds an array without a proper shape")
    if math.prod(shape) * kind.dtype.itemsize != len(data):
        raise ValueError(f"it holds an array of {len(data):,} bytes for a shape of {' x '.join(map(str, shape))}")
    flat: NDArray[np.integer] = np.frombuffer(data, kind.dtype)
    return flat.reshape(shape, order="F" if columns_first else "C")


def _index(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("it holds a number that is too long")
    return int(digits)


def _decimal(text: str) -> int:
    return text == "01" if text in ("00", "01") else _index(text.removesuffix("L"))  # 00 and 01 are truth values


def _dictionary(values: list[object]) -> dict[str, object]:
    if len(values) % 2:
        raise ValueError("it holds a key without a value")
    return dict(zip(map(_text, values[::2]), values[1::2], strict=True))


def _pushing(make: Callable[[_Machine], object]) -> Callable[[_Machine], object]:
    return lambda machine: machine.stack.append(make(machine))


_VALUES: dict[bytes, Callable[[_Machine], object]] = {  # opcodes that put a value onto the stack
    b"(": lambda m: _MARK,
    b"N": lambda m: None,
    b"\x88": lambda m: True,
    b"\x89": lambda m: False,
    b"K": lambda m: m.number("<B"),
    b"M": lambda m: m.number("<H"),
    b"J": lambda m: m.number("<i"),
    b"\x8a": lambda m: int.from_bytes(m.take(m.number("<B")), "little", signed=True),
    b"I": lambda m: _decimal(m.line()),
    b"L": lambda m: _decimal(m.line()),
    b"G": lambda m: struct.unpack(">d", m.take(8))[0],
    b"F": lambda m: float(m.line()),
    b"V": lambda m: m.line().encode("latin-1").decode("raw-unicode-escape"),
    b"\x8c": lambda m: str(m.take(m.number("<B")), "utf-8"),
    b"X": lambda m: str(m.take(m.number("<I")), "utf-8"),
    b"\x8d": lambda m: str(m.take(m.number("<Q")), "utf-8"),
    b"U": lambda m: m.take(m.number("<B")),
    b"C": lambda m: m.take(m.number("<B")),
    b"T": lambda m: m.take(m.number("<I")),
    b"B": lambda m: m.take(m.number("<I")),
    b"\x8e": lambda m: m.take(m.number("<Q")),
    b"\x96": lambda m: m.take(m.number("<Q")),
    b"]": lambda m: [],
    b"}": lambda m: {},
    b")": lambda m: (),
    b"\x85": lambda m: m.last(1),
    b"\x86": lambda m: m.last(2),
    b"\x87": lambda m: m.last(3),
    b"t": lambda m: tuple(m.marked()),
    b"l": lambda m: m.marked(),
    b"d": lambda m: _dictionary(m.marked()),
    b"c": lambda m: _Name(m.line(), m.line()),
    b"\x93": lambda m: _Name(*map(_text, m.last(2))),
    b"R": lambda m: m.called(),
}
_ACTS: dict[bytes, Callable[[_Machine], object]] = {  # those that do something else
    b"\x80": lambda m: m.number("<B"),  # the protocol
    b"\x95": lambda m: m.number("<Q"),  # the length of a frame
    b"a": lambda m: m.append(m.last(1)),
    b"e": lambda m: m.append(m.marked()),
    b"s": lambda m: m.set(list(m.last(2))),
    b"u": lambda m: m.set(m.marked()),
    b"b": lambda m: m.build(),
    b"p": lambda m: m.keep(_index(m.line())),
    b"q": lambda m: m.keep(m.number("<B")),
    b"r": lambda m: m.keep(m.number("<I")),
    b"\x94": lambda m: m.keep(len(m.memo)),
    b"g": lambda m: m.fetch(_index(m.line())),
    b"h": lambda m: m.fetch(m.number("<B")),
    b"j": lambda m: m.fetch(m.number("<I")),
}
_OPCODES = {code[0]: act for code, act in ({code: _pushing(make) for code, make in _VALUES.items()} | _ACTS).items()}
