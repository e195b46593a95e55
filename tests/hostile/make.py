"""Hostile and unusual files, made from their parts. Deterministic; nothing binary is stored.

Writers of our own, so that every field can be wrong: ``raw_png``, ``tiff``, ``dicom``. Bombs unpack to 300 MB at most
and are to be read in a process with a limit of memory.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image
from pydicom.datadict import dictionary_VR, tag_for_keyword

SIDE = 64
RAMP = np.tile(np.linspace(0, 255, SIDE).round().astype(np.uint8), (SIDE, 1))
LEANING = np.add.outer(np.arange(SIDE) * 3, np.arange(SIDE)).astype(np.uint8)  # differs in all eight orientations
EXIF_ORIENTATION = 0x0112

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG_BASELINE, JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
DX_STORAGE = "1.2.840.10008.5.1.4.1.1.1.1"
LONG_TYPES = ("OB", "OW", "OF", "OD", "SQ", "UN", "UT", "UC", "UR")
NUMBER_FORMATS = {"US": "H", "SS": "h", "UL": "I", "FL": "f", "FD": "d", "US or SS": "H"}


# Pictures ------------------------------------------------------------------------------------------------------------


def png(image: Image.Image | np.ndarray, **options) -> bytes:
    return encoded(image, "PNG", **options)


def jpeg(image: Image.Image | np.ndarray, **options) -> bytes:
    return encoded(image, "JPEG", **{"quality": 95, **options})


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed(pixels: np.ndarray) -> bytes:
    """Scan lines of a PNG, each after its filter byte."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def raw_png(
    width: int, height: int, rows: bytes, depth: int = 8, colour: int = 0, extra: bytes = b"", interlaced: int = 0
) -> bytes:
    """A PNG from its parts: ``rows`` are scan lines, each after its filter byte; ``extra`` are chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def low_depth_png(depth: int) -> tuple[bytes, np.ndarray]:
    """A grey PNG of 1, 2 or 4 bits, and the same image in 8 bits."""
    levels = np.tile(np.arange(SIDE) % 2**depth, (SIDE, 1))
    bits = np.unpackbits(levels.astype(np.uint8)[..., None], axis=2)[..., -depth:].reshape(SIDE, -1)
    content = raw_png(SIDE, SIDE, packed(np.packbits(bits, axis=1)), depth)
    return content, (levels * (255 // (2**depth - 1))).astype(np.uint8)


def interlaced_png(pixels: np.ndarray) -> bytes:
    """Adam7, packed by hand since Pillow does not write it."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(packed(pixels[top::down, left::right]) for top, left, down, right in passes)
    return raw_png(pixels.shape[1], pixels.shape[0], rows, interlaced=1)


def sixteen_bit_colours(pixels: np.ndarray) -> bytes:
    """A grey image of 16 bits as a PNG of 16 bits per colour."""
    rows = np.repeat(pixels[..., None], 3, axis=2).astype(">u2").reshape(len(pixels), -1)
    return raw_png(pixels.shape[1], pixels.shape[0], packed(rows), depth=16, colour=2)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The image stored so that its EXIF orientation turns it back."""
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.T,
        6: np.rot90(pixels, 1),
        7: pixels[::-1, ::-1].T,
        8: np.rot90(pixels, -1),
    }[orientation]
    return np.ascontiguousarray(stored)


def with_orientation(pixels: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return png(turned(pixels, orientation), exif=exif)


def text_bomb() -> bytes:
    return raw_png(SIDE, SIDE, packed(RAMP), extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 20_000_000, 9)))


def broken_checksum() -> bytes:
    content = bytearray(png(RAMP))
    content[content.index(b"IDAT") + 10] ^= 0xFF
    return bytes(content)


def animation() -> bytes:
    return png(RAMP, save_all=True, append_images=[Image.fromarray(LEANING)])


def colour_photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)


def alien(kind: str) -> bytes:
    return encoded(Image.fromarray(RAMP).convert("RGB"), kind)


def tiff(pixels: np.ndarray, order: str = "<", **entries: int) -> bytes:
    """An uncompressed TIFF of one strip, with entries of its directory replaced: photometric, bits, strip ..."""
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    body = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    default_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags = {
        256: width,
        257: entries.get("height", height),
        258: entries.get("bits", pixels.dtype.itemsize * 8),
        259: entries.get("compression", 1),
        262: entries.get("photometric", 1 if samples == 1 else 2),
        273: entries.get("strip", 8),
        274: entries.get("orientation", 1),
        277: samples,
        278: height,
        279: entries.get("bytes", len(body)),
        339: entries.get("format", default_format),
    }
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(body))
    directory = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags.items())
    return head + body + struct.pack(order + "H", len(tags)) + directory + struct.pack(order + "I", 0)


def twelve_bit_tiff(pixels: np.ndarray) -> bytes:
    """Two pixels in three bytes, as detectors' software packs them."""
    pairs = pixels.reshape(-1, 2).astype(np.uint16)
    body = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
    rows = body.astype(np.uint8).reshape(pixels.shape[0], -1)
    content = bytearray(tiff(rows, bits=12))
    at = content.index(struct.pack("<HHI", 256, 4, 1))
    content[at + 8 : at + 12] = struct.pack("<I", pixels.shape[1])
    return bytes(content)


# DICOM ---------------------------------------------------------------------------------------------------------------


def image(bits: int = 12, side: int = SIDE) -> np.ndarray:
    """An image of so many bits: LEANING's slope with noise, every grey level of a coarse scale in it."""
    slope = np.add.outer(np.arange(side) * 3.0, np.arange(side)) / (4 * side)
    noise = np.random.default_rng(7).random((side, side)) / 8
    return np.round((slope * 0.875 + noise) * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def dicom(
    pixels: np.ndarray | None,
    syntax: str = EXPLICIT,
    frames: Iterable[bytes] | None = None,
    preamble: bytes | None = bytes(128),
    meta: Mapping[int, tuple[str, bytes]] | None = None,
    raw: Mapping[int, tuple[str, bytes]] | None = None,
    **tags: Any,
) -> bytes:
    """A DICOM file of one image.

    Args:
        pixels: integers (height, width) or (height, width, 3); None for a file without any.
        syntax: transfer syntax; it names the encoding of ``frames``, compressed pictures, where they are given.
        preamble: 128 bytes before the mark; None for a file that has neither mark nor file meta group.
        meta: elements of the file meta group by number, in place of transfer syntax and class.
        raw: elements by tag as (type, bytes), whatever they are; they are put in their place.
        tags: values by keyword; None leaves a tag out, a list of dictionaries is a sequence.
    """
    order = ">" if syntax == BIG_ENDIAN else "<"
    values = {**({} if pixels is None else described(pixels)), **tags}
    elements = {
        tag_for_keyword(keyword): element_of(keyword, value, order, syntax == IMPLICIT, values)
        for keyword, value in values.items()
        if value is not None
    }
    for tag, (kind, content) in (raw or {}).items():
        elements[tag] = element(tag, kind, content, order, syntax == IMPLICIT)
    if pixels is not None and "PixelData" not in tags and 0x7FE00010 not in (raw or {}):
        body = encapsulated(frames) if frames is not None else stored(pixels, order)
        is_long = pixels.dtype.itemsize > 1 and frames is None
        elements[0x7FE00010] = element(
            0x7FE00010, "OW" if is_long else "OB", body, order, syntax == IMPLICIT, undefined=frames is not None
        )
    dataset = b"".join(elements[tag] for tag in sorted(elements))
    if syntax == DEFLATED:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        dataset = packer.compress(dataset) + packer.flush()
    if preamble is None:
        return dataset
    if meta is None:
        meta = {2: ("UI", text_of(DX_STORAGE, "UI")), 3: ("UI", b"1.2.3\0"), 0x10: ("UI", text_of(syntax, "UI"))}
    group = b"".join(element(0x00020000 | number, *meta[number]) for number in sorted(meta))
    length = element(0x00020000, "UL", struct.pack("<I", len(group)))
    return preamble + b"DICM" + length + group + dataset


def described(pixels: np.ndarray) -> dict[str, Any]:
    """The tags without which no image can be read."""
    bits = pixels.dtype.itemsize * 8
    is_grey = pixels.ndim == 2
    return {
        "SOPClassUID": DX_STORAGE,
        "SamplesPerPixel": 1 if is_grey else 3,
        "PhotometricInterpretation": "MONOCHROME2" if is_grey else "RGB",
        **({} if is_grey else {"PlanarConfiguration": 0}),
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }


def bits_of(bits: int) -> dict[str, int]:
    return {"BitsStored": bits, "HighBit": bits - 1}


def stored(pixels: np.ndarray, order: str) -> bytes:
    body = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    return body + bytes(len(body) % 2)


def encapsulated(frames: Iterable[bytes]) -> bytes:
    """Compressed pictures, each an item, after an empty table of offsets."""
    items = [struct.pack("<HHI", 0xFFFE, 0xE000, 0)]
    for frame in frames:
        even = frame + bytes(len(frame) % 2)
        items.append(struct.pack("<HHI", 0xFFFE, 0xE000, len(even)) + even)
    return b"".join(items) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def element(
    tag: int, kind: str, content: bytes, order: str = "<", implicit: bool = False, undefined: bool = False
) -> bytes:
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    length = 0xFFFFFFFF if undefined else len(content)
    if implicit:
        return head + struct.pack(order + "I", length) + content
    if kind in LONG_TYPES:
        return head + kind.encode() + b"\0\0" + struct.pack(order + "I", length) + content
    return head + kind.encode() + struct.pack(order + "H", length) + content


def element_of(keyword: str, value: Any, order: str, implicit: bool, values: Mapping[str, Any]) -> bytes:
    tag, kind = tag_for_keyword(keyword), dictionary_VR(keyword)
    if kind == "SQ":
        items = b"".join(item_of(item, order, implicit, values) for item in value)
        return element(tag, "SQ", items, order, implicit)
    if isinstance(value, bytes):
        kind = "OW" if " or " in kind else kind
        return element(tag, kind, value + bytes(len(value) % 2), order, implicit)
    if kind in NUMBER_FORMATS or " or " in kind:
        numbers = value if isinstance(value, (list, tuple)) else [value]
        is_signed = kind == "US or SS" and values.get("PixelRepresentation") == 1
        letter = "h" if is_signed and min(numbers) < 0 else NUMBER_FORMATS.get(kind, "H")
        kind = {"h": "SS", "H": "US"}.get(letter, kind)
        return element(tag, kind, struct.pack(f"{order}{len(numbers)}{letter}", *numbers), order, implicit)
    return element(tag, kind, text_of(value, kind), order, implicit)


def item_of(item: Mapping[str, Any], order: str, implicit: bool, values: Mapping[str, Any]) -> bytes:
    inside = b"".join(
        element_of(keyword, item[keyword], order, implicit, values) for keyword in sorted(item, key=tag_for_keyword)
    )
    return struct.pack(order + "HHI", 0xFFFE, 0xE000, len(inside)) + inside


def text_of(value: Any, kind: str) -> bytes:
    text = "\\".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    content = text.encode()
    return content + (b"\0" if kind == "UI" else b" ") * (len(content) % 2)


def rle(pixels: np.ndarray) -> bytes:
    """Pixels as RLE segments, one per byte of a pixel, the highest first; runs are not searched for."""
    planes = pixels.astype(pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(*pixels.shape, -1)
    segments = [
        b"".join(
            bytes([min(128, len(row) - at) - 1]) + row[at : at + 128].tobytes()
            for row in planes[..., byte]
            for at in range(0, len(row), 128)
        )
        for byte in range(planes.shape[-1])
    ]
    return rle_frame([segment + bytes(len(segment) % 2) for segment in segments])


def rle_frame(segments: list[bytes]) -> bytes:
    offsets = [64]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


def lossless_jpeg(pixels: np.ndarray, bits: int) -> bytes:
    """Pixels in lossless JPEG: process 14, selection value 1 (ITU-T T.81, H.1), every category a code of five bits."""
    values = pixels.astype(np.int64)
    predicted = np.concatenate([values[:, :1], values[:, :-1]], axis=1)
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 2 ** (bits - 1)
    code = "".join(_difference(int(one)) for one in (values - predicted).ravel())
    code += "1" * (-len(code) % 8)
    body = int(code, 2).to_bytes(len(code) // 8).replace(b"\xff", b"\xff\0")
    height, width = pixels.shape
    frame = struct.pack(">HBHHBBBB", 11, bits, height, width, 1, 1, 0x11, 0)
    codes = struct.pack(">HB16B", 19 + 17, 0, 0, 0, 0, 0, 17, *[0] * 11) + bytes(range(17))
    scan = struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8\xff\xc3" + frame + b"\xff\xc4" + codes + b"\xff\xda" + scan + body + b"\xff\xd9"


def _difference(value: int) -> str:
    """Category of a difference in five bits, then its own bits: those of value - 1 where it is negative."""
    category = abs(value).bit_length()
    own = (value if value >= 0 else value - 1) & (2**category - 1)
    return f"{category:05b}" + (f"{own:0{category}b}" if 0 < category < 16 else "")


def rle_bomb() -> bytes:
    """An image of 64 x 64 whose RLE segments unpack to 300 MB."""
    segment = b"\x81\x00" * (300_000_000 // 2 // 128)
    return dicom(image(), RLE, frames=[rle_frame([segment, segment])])


def deflate_bomb() -> bytes:
    """About 300 kB that unpack to 300 MB: a private tag before the pixels of an image that is sound."""
    sound, size = dicom(image(), preamble=None), 300_000_000
    at = sound.index(struct.pack("<HH", 0x0028, 0x0002))
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [packer.compress(sound[:at] + struct.pack("<HH2s2xI", 0x0009, 0x1010, b"OB", size))]
    parts += [packer.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)]
    parts += [packer.compress(sound[at:]), packer.flush()]
    empty = dicom(None, DEFLATED)
    return empty[: empty.index(DEFLATED.encode()) + len(DEFLATED)] + b"".join(parts)


def nested_sequences(depth: int = 3000) -> bytes:
    """An image below whose top level so many sequences are nested, all of undefined length."""
    start = struct.pack("<HH", 0x0040, 0xA730) + b"SQ\0\0" + struct.pack("<I", 0xFFFFFFFF)
    start += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    sound = dicom(image())
    at = sound.index(struct.pack("<HH", 0x7FE0, 0x0010))
    return sound[:at] + start * depth + end * depth + sound[at:]


def scan_bomb(side: int = 7900, scans: int = 1500) -> bytes:
    """A progressive JPEG of 100 kB whose last scan comes again and again: a decoder goes through all pixels each time,
    15 ms for a million of them."""
    content = encoded(np.zeros((side, side), np.uint8), "JPEG", progressive=True)
    last, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:last] + content[last:end] * scans + content[end:]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The file with some bytes changed, lost, doubled or filled, as a seed has it."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, max(1, len(changed))))
        length = int(rng.integers(1, 9))
        kind = int(rng.integers(0, 6))
        if kind <= 2:
            changed[at : at + length] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()[: len(changed) - at]
        elif kind == 3:
            changed[at : at + length] = b"\xff" * min(length, len(changed) - at)
        elif kind == 4:
            del changed[at : at + length]
        else:
            changed[at:at] = changed[at : at + length * 4]
    return bytes(changed[: int(rng.integers(1, len(changed) + 1))] if rng.random() < 0.1 else changed)


def fuzz_seeds() -> list[bytes]:
    """One file of every kind that is read, each of 40 or 64 pixels a side, to be mutated."""
    small = image(12, 40)
    tags = {**bits_of(12), "PatientName": "CANARY", "WindowCenter": 1500, "WindowWidth": 1800}
    eight = image(8, 40)
    return [
        with_orientation(LEANING, 6),
        interlaced_png(LEANING),
        png(small),
        jpeg(LEANING),
        tiff(small),
        encoded(LEANING, "TIFF", compression="tiff_lzw"),
        encoded(LEANING, "TIFF", compression="tiff_adobe_deflate"),
        dicom(small, **tags),
        dicom(small, IMPLICIT, **tags),
        dicom(small, BIG_ENDIAN, **tags),
        dicom(small, DEFLATED, **tags),
        dicom(small, RLE, frames=[rle(small)], **tags),
        dicom(eight, JPEG_BASELINE, frames=[jpeg(eight)], PatientName="CANARY"),
        dicom(small, "1.2.840.10008.1.2.4.70", frames=[lossless_jpeg(small, 12)], **tags),
        dicom(small, "1.2.840.10008.1.2.4.90", frames=[encoded(small, "JPEG2000")], **tags),
    ]
