"""XMP packets (ISO 16684-1): what they say of a picture's making, and how that is added to what they say besides.

A packet that a picture carries already stays as it is but for what is no longer true of the new pixels. It is read by a parser that knows
no entities, for one with a document type is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.dom import minidom
from xml.dom.minidom import Document, Element, Node
from xml.parsers.expat import ExpatError

from calotype.provenance.marker import STRENGTH, Marker

LARGEST = 1 << 20  # bytes of a packet that is read
MOST = 1 << 16  # elements and attributes in it, each of which takes a hundred times the memory of its characters
EARLIER = 16  # markers that are kept of what a picture was before

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
CODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
OWN = "urn:calotype:provenance:"
_TYPE, _MARKERS = (IPTC, "DigitalSourceType"), (OWN, "markers")

_TIFF, _EXIF, _XMP = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/xap/1.0/"
_STALE = {(_TIFF, name) for name in ("Orientation", "ImageWidth", "ImageLength", "BitsPerSample", "SamplesPerPixel")}
_STALE |= {(_TIFF, "PhotometricInterpretation"), (_EXIF, "PixelXDimension"), (_EXIF, "PixelYDimension"), (_XMP, "Thumbnails")}
"""What says how the old file was written, or shows the old picture."""
NOTE = "http://ns.adobe.com/xmp/note/"  # where the rest of a packet is that is too long for one segment of JPEG
_STALE_SPACES = {
    NOTE,
    "http://ns.adobe.com/hdr-gain-map/1.0/",  # further pictures in the file, and a film, which are not taken over
    "http://ns.apple.com/HDRGainMap/1.0/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/camera/",
}

_NEW = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description xmlns:xmp="{_XMP}" rdf:about="" xmp:CreatorTool="Calotype"/></rdf:RDF>\n'
    '</x:xmpmeta>\n<?xpacket end="w"?>'
)


@dataclass(frozen=True)
class Statement:
    """What a packet says of a picture's making."""

    source_type: str = ""  # the last part of its digital source type, where that is one of IPTC's
    markers: tuple[str, ...] = ()  # of all that Calotype made of it, the last one at the end


def kept(packet: bytes) -> bytes:
    """A packet without what is not true of other pixels; empty where it says nothing. Raises ``ValueError`` for one that is broken."""
    document, root = parsed(packet)
    if root is None:
        return b""
    for description in descriptions_of(root):
        _remove(description, lambda space, name: (space, name) in _STALE or space in _STALE_SPACES)
    return serialized(document)


def stated(packet: bytes) -> Statement:
    """What a packet says. Raises ``ValueError`` for one that is broken."""
    root = parsed(packet)[1]
    return Statement() if root is None else _stated(root)


def marked(packet: bytes, marker: Marker) -> bytes:
    """A packet that says what made the picture as well; a new one where ``packet`` is empty. Raises ``ValueError`` for a broken one."""
    document, root = parsed(packet or _NEW.encode())
    if root is None:
        document, root = parsed(_NEW.encode())
    assert root is not None
    before, descriptions = _stated(root), list(descriptions_of(root))
    strongest = max(before.source_type, marker.source_type, key=lambda kind: STRENGTH.index(kind) if kind in STRENGTH else 0)
    new = document.createElementNS(RDF, "rdf:Description")
    for prefix, space in (("rdf", RDF), ("Iptc4xmpExt", IPTC), ("calotype", OWN)):
        new.setAttribute(f"xmlns:{prefix}", space)
    new.setAttributeNS(RDF, "rdf:about", descriptions[0].getAttributeNS(RDF, "about") if descriptions else "")
    for description in descriptions:
        _remove(description, lambda space, name: (space, name) == _MARKERS or ((space, name) == _TYPE and marker.source_type != ""))
    if marker.source_type:
        new.appendChild(_element(document, IPTC, "Iptc4xmpExt:DigitalSourceType", CODES + strongest))
    sequence = document.createElementNS(RDF, "rdf:Seq")
    for text in (*before.markers[-EARLIER:], marker.text):
        sequence.appendChild(_element(document, RDF, "rdf:li", text))
    new.appendChild(document.createElementNS(OWN, "calotype:markers")).appendChild(sequence)
    root.appendChild(new)
    return serialized(document)


def joined(packet: bytes, rest: bytes) -> bytes:
    """A packet with the descriptions of another, ``rest``, which is its extended XMP.

    Raises ``ValueError`` for broken ones, and where what is declared around the descriptions, of which each gets a copy, would be too much.
    """
    document, root = parsed(packet)
    _, more = parsed(rest)
    if root is None or more is None:
        raise ValueError("it holds no properties")
    for description in descriptions_of(root):
        _remove(description, lambda space, name: (space, name) == (NOTE, "HasExtendedXMP"))
    declared: dict[str, str] = {}
    around: Node | None = more
    while isinstance(around, Element):  # the nearest declaration of a prefix holds
        for name, value in around.attributes.items():
            if name.startswith("xmlns"):
                declared.setdefault(name, value)
        around = around.parentNode
    descriptions = list(descriptions_of(more))
    if len(descriptions) * len(declared) > MOST or len(descriptions) * sum(map(len, (*declared, *declared.values()))) > LARGEST:
        raise ValueError("it has too many parts")
    for description in descriptions:
        copy = document.importNode(description, True)
        for name, value in declared.items():
            if not copy.hasAttribute(name):
                copy.setAttribute(name, value)
        root.appendChild(copy)
    return serialized(document)


def parsed(packet: bytes) -> tuple[Document, Element | None]:
    """A packet, and the element of it that holds descriptions. Raises ``ValueError``."""
    if len(packet) > LARGEST:
        raise ValueError("it is too large")
    try:
        text = packet.decode("utf-16" if packet[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig").strip("\0 \r\n\t\ufeff")
        if "<!DOCTYPE" in text:
            raise ValueError("it has a document type")
        if text.count("<") + text.count("=") > MOST:
            raise ValueError("it has too many parts")
        document = minidom.parseString(text.encode())
        root = next(iter(document.getElementsByTagNameNS(RDF, "RDF")), None)
    except (ExpatError, LookupError, RecursionError) as error:  # a `UnicodeError` is a ``ValueError``
        raise ValueError(str(error)) from None
    return document, root


def descriptions_of(root: Element) -> Iterator[Element]:
    """The descriptions in a packet, one after another."""
    for child in list(root.childNodes):
        if isinstance(child, Element) and (child.namespaceURI, child.localName) == (RDF, "Description"):
            yield child


def _stated(root: Element) -> Statement:
    kind, markers = "", list[str]()
    for description in descriptions_of(root):
        kind = kind or description.getAttributeNS(*_TYPE)
        for child in description.childNodes:
            if isinstance(child, Element) and (child.namespaceURI, child.localName) == _TYPE:
                kind = kind or child.getAttributeNS(RDF, "resource") or _text(child)
            if isinstance(child, Element) and (child.namespaceURI, child.localName) == _MARKERS:
                markers += [_text(one) for one in child.getElementsByTagNameNS(RDF, "li")]
    return Statement(kind.strip().removeprefix(CODES) if kind.strip().startswith(CODES) else "", tuple(markers))


def _remove(description: Element, unwanted: Callable[[str | None, str | None], bool]) -> None:
    """Take properties out, be they attributes or elements."""
    for attribute in list(description.attributes.values()):
        if unwanted(attribute.namespaceURI, attribute.localName):
            description.removeAttributeNode(attribute)
    for child in list(description.childNodes):
        if isinstance(child, Element) and unwanted(child.namespaceURI, child.localName):
            description.removeChild(child)


def _element(document: Document, space: str, name: str, text: str) -> Element:
    made = document.createElementNS(space, name)
    made.appendChild(document.createTextNode(text))
    return made


def _text(element: Element) -> str:
    return "".join(child.data for child in element.childNodes if child.nodeType in (child.TEXT_NODE, child.CDATA_SECTION_NODE))


def serialized(document: Document) -> bytes:
    """Without the declaration that `Document.toxml` begins with, which no packet has. Raises ``ValueError``."""
    try:
        return "\n".join(node.toxml() for node in document.childNodes).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
