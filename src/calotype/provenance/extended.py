"""XMP packets that are too long for one segment of a JPEG file: a standard packet, and the rest as extended XMP (XMP specification, part
3, section 1.1.3.1), in as many segments as it takes, under the MD5 digest of its bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple
from xml.dom.minidom import Attr, Element, Node

from calotype.provenance.xmp import IPTC, LARGEST, NOTE, OWN, RDF, descriptions_of, joined, parsed, serialized

STANDARD, EXTENSION = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
SEGMENT = 65_533  # bytes that a segment holds behind its length
ROOM = SEGMENT - len(STANDARD)
_GUID, _NUMBERS = 32, struct.Struct(">II")  # hexadecimal digits; the length of all of it, and where a part begins
_PART = SEGMENT - len(EXTENSION) - _GUID - _NUMBERS.size
_STAY = (IPTC, OWN)  # what every reader is to see
_HAS = "HasExtendedXMP"
NAME = _HAS.encode()
"""What stands in every packet that extended XMP belongs to."""


_Place = tuple[int, tuple[str | None, str | None]]
"""Where a property stands, which is the same in a copy: the number of its description, its namespace and its name."""


class _Property(NamedTuple):
    """A property in a packet."""

    place: _Place
    size: int  # characters


def segments(packet: bytes) -> bytes:
    """APP1 segments of a JPEG file that hold a packet, one or as many as it takes. Raises ``ValueError`` where it cannot be divided."""
    if len(packet) <= ROOM:
        return _segment(STANDARD + packet)
    standard, rest = divided(packet)
    guid = _digest(rest)  # without a rest no segment has it
    parts = range(0, len(rest), _PART)
    heads = [EXTENSION + guid + _NUMBERS.pack(len(rest), at) for at in parts]
    return _segment(STANDARD + standard) + b"".join(_segment(head + rest[at : at + _PART]) for head, at in zip(heads, parts, strict=True))


def divided(packet: bytes) -> tuple[bytes, bytes]:
    """A standard packet that fits one segment, and the extended XMP it names, by which the largest properties go.

    What says of the making stays where every reader looks. Raises ``ValueError`` for a broken packet, and where what stays is too long.
    """
    document, root = parsed(packet)
    if root is None:
        raise ValueError("it holds no properties")
    moved, size = list[_Property](), len(serialized(document)) + 256  # for the name of the rest
    for one in sorted(_properties(root), key=lambda one: one.size, reverse=True):
        if size <= ROOM:
            break
        moved.append(one)
        size -= one.size
    if not moved:
        return serialized(document), b""
    going = {one.place for one in moved}
    other, other_root = parsed(packet)
    assert other_root is not None
    _take(root, lambda place: place in going)
    _take(other_root, lambda place: place not in going)
    for description in list(descriptions_of(other_root)):
        if not _contents(description):
            other_root.removeChild(description)
    assert other.documentElement is not None
    rest = other.documentElement.toxml().encode()
    naming = document.createElementNS(RDF, "rdf:Description")
    naming.setAttribute("xmlns:rdf", RDF)
    naming.setAttribute("xmlns:xmpNote", NOTE)
    naming.setAttributeNS(RDF, "rdf:about", next(descriptions_of(root)).getAttributeNS(RDF, "about"))
    naming.setAttributeNS(NOTE, f"xmpNote:{_HAS}", _digest(rest).decode())
    root.appendChild(naming)
    standard = serialized(document)
    if len(standard) > ROOM:
        raise ValueError("what must stand in one segment is too long for it")
    return standard, rest


def whole(packet: bytes, bodies: Iterable[bytes]) -> bytes:
    """A standard packet with the extended XMP that it names, from the bodies of the APP1 segments of its file.

    Raises:
        ValueError: where the packet is broken, or some of the rest is missing or is not what its digest says.
    """
    _, root = parsed(packet)
    names = [] if root is None else [one.getAttributeNS(NOTE, _HAS) or _text_of(one) for one in descriptions_of(root)]
    if not (guid := next((name.strip().encode() for name in names if name.strip()), b"")):
        return packet
    rest, known = bytearray(), set[int]()
    for body in bodies:
        if not body.startswith(EXTENSION + guid) or len(body) < len(EXTENSION) + _GUID + _NUMBERS.size:
            continue
        length, at = _NUMBERS.unpack_from(body, len(EXTENSION) + _GUID)
        part = body[len(EXTENSION) + _GUID + _NUMBERS.size :]
        if length > LARGEST or (rest and len(rest) != length) or at + len(part) > length or not part:
            raise ValueError("its extended XMP is damaged")
        rest = rest or bytearray(length)
        if at not in known:
            known.add(at)
            rest[at : at + len(part)] = part
    if not rest or _digest(rest) != guid.upper():
        raise ValueError("its extended XMP is damaged")
    return joined(packet, bytes(rest))


def _properties(root: Element) -> list[_Property]:
    """The properties that may go elsewhere."""
    found = []
    for number, description in enumerate(descriptions_of(root)):
        for node in _contents(description):
            if node.namespaceURI not in _STAY:
                size = len(node.toxml().encode()) if isinstance(node, Element) else len(f'{node.name}="{node.value}" '.encode())
                found.append(_Property((number, (node.namespaceURI, node.localName)), size))
    return found


def _contents(description: Element) -> list[Attr | Element]:
    """What a description says: its attributes but for namespaces and its subject, and its elements."""
    attributes = [one for one in description.attributes.values() if one.prefix != "xmlns" and one.name != "xmlns"]
    said = [one for one in attributes if (one.namespaceURI, one.localName) != (RDF, "about")]
    return [*said, *(one for one in description.childNodes if isinstance(one, Element))]


def _take(root: Element, unwanted: Callable[[_Place], bool]) -> None:
    """Remove properties by where they stand."""
    for number, description in enumerate(descriptions_of(root)):
        for node in _contents(description):
            if unwanted((number, (node.namespaceURI, node.localName))):
                if isinstance(node, Attr):
                    description.removeAttributeNode(node)
                else:
                    description.removeChild(node)


def _text_of(description: Element) -> str:
    """The digest where it is an element and no attribute."""
    found = description.getElementsByTagNameNS(NOTE, _HAS)
    return "".join(child.data for child in found[0].childNodes if child.nodeType == Node.TEXT_NODE) if found else ""


def _segment(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _digest(rest: bytes | bytearray) -> bytes:
    return hashlib.md5(rest, usedforsecurity=False).hexdigest().upper().encode()
