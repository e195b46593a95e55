"""Zip archives: what is refused before anything is written. Z1 to Z8 number the kinds of hostile archives."""

import io
import os
import re
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from covid_core.data.dataset import list_datasets
from covid_core.data.imports import archives, importing, layouts
from covid_core.errors import DataError, Stopped
from covid_core.images.codec import png_bytes

IMAGE = png_bytes(np.arange(40 * 40, dtype=np.uint32).reshape(40, 40).astype(np.uint8))


def archive(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return path


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x" * len(name))
    info.filename = info.orig_filename = name  # past the repairs that ZipInfo makes
    info.external_attr = mode << 16
    return info


def patched(path: Path, old: bytes, new: bytes, count: int = -1) -> Path:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))
    return path


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def refuse(path: Path, reason: str) -> str:
    """The archive is refused for that reason, and nothing is written anywhere near it."""
    before = tree(path.parent)
    with pytest.raises(DataError, match=reason) as refusal:
        archives.extract(path, path.parent / "unpacked")
    assert tree(path.parent) == before
    assert str(path.parent) not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    "name",
    ["..", "a/..", "../../x.png", "a/../../x.png", "/abs.png", "C:\\x.png", "C:/x.png", "..\\..\\x.png"],
)
def test_z1_a_member_that_would_leave_its_folder_is_named_and_the_whole_refused(tmp_path, name):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE), (member(name), IMAGE))
    assert name in refuse(path, "would leave its folder").replace("\\\\", "\\")


def test_z1_slashes_of_windows_are_slashes(tmp_path):
    archives.extract(archive(tmp_path / "images.zip", (member("a\\b\\1.png"), IMAGE)), tmp_path / "unpacked")
    assert tree(tmp_path / "unpacked") == ["a", "a/b", "a/b/1.png"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_z2_links_and_devices_are_refused(tmp_path, kind):
    refuse(
        archive(tmp_path / "images.zip", (member("a/1.png", kind | 0o644), b"/etc/passwd")), "link or device: 'a/1.png'"
    )


def test_z3_a_bomb_is_refused_by_its_ratio(tmp_path):
    path = archive(tmp_path / "images.zip", ("a/1.png", b"\0" * 2**21), packing=zipfile.ZIP_DEFLATED)
    refuse(path, "packed more than 200 to 1")


def test_z3_a_small_file_may_be_packed_as_it_likes(tmp_path):
    path = archive(tmp_path / "images.zip", ("a/1.png", b"\0" * 2**19), packing=zipfile.ZIP_DEFLATED)
    archives.extract(path, tmp_path / "unpacked")
    assert (tmp_path / "unpacked/a/1.png").stat().st_size == 2**19


def test_z3_many_small_files_are_a_bomb_together(tmp_path):
    small = (f"a/{number}.png" for number in range(300))
    path = archive(tmp_path / "images.zip", *((name, b"\0" * 10**6) for name in small), packing=zipfile.ZIP_DEFLATED)
    refuse(path, "files are packed more than 200 to 1")


def test_z3_members_that_share_their_bytes_are_refused(tmp_path):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE * 20), ("a/2.png", b"?"))
    content = bytearray(path.read_bytes())
    first, second = (content.index(b"PK\x01\x02"), content.rindex(b"PK\x01\x02"))
    content[second + 16 : second + 28] = content[first + 16 : first + 28]  # checksum and both sizes
    content[second + 42 : second + 46] = content[first + 42 : first + 46]  # where it starts
    path.write_bytes(content)
    refuse(path, "overlap")


def test_z3_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    refuse(archive(tmp_path / "images.zip", *((f"a/{i}.png", IMAGE) for i in range(4))), "holds 4 files; at most 3")


def test_z3_too_many_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", len(IMAGE))
    refuse(archive(tmp_path / "images.zip", ("a/1.png", IMAGE), ("a/2.png", IMAGE)), "unpacks to")


def test_z3_too_little_free_space_is_told_before_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6, 100))
    refuse(archive(tmp_path / "images.zip", ("a/1.png", IMAGE)), "of free disk space; 100 B is left")


def test_z3_an_archive_within_an_archive_stays_packed(workspace, tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as opened:
        opened.writestr("b/2.png", IMAGE)
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE), ("a/more.zip", inner.getvalue()))
    assert importing.import_path(workspace, path).counts == {"a": 1}


@pytest.mark.parametrize("stated", [1, len(IMAGE) - 1])
def test_z4_a_member_larger_than_it_says_is_refused(tmp_path, stated):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", stated)
    path.write_bytes(content)
    refuse(path, "cannot be unpacked: Bad CRC-32")


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile warns when this test writes what it is about
@pytest.mark.parametrize("second", ["a/1.png", "A/1.PNG", "a//1.png", "./a/1.png", "a/./1.png"])
def test_z5_a_name_that_comes_twice_is_refused(tmp_path, second):
    refuse(archive(tmp_path / "images.zip", ("a/1.png", IMAGE), (second, IMAGE)), "twice")


def test_z5_a_file_where_another_needs_a_folder_is_refused(tmp_path):
    refuse(archive(tmp_path / "images.zip", ("a", IMAGE), ("a/1.png", IMAGE)), "cannot be unpacked")


@pytest.mark.parametrize("name", ["", ".", "a/.", "./.", "a//."])
def test_z6_a_file_without_a_name_is_refused(tmp_path, name):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE), (member(name), IMAGE))
    assert layouts.understood(archives.names_in(path), "it").counts == {"a": 1}
    refuse(path, f"a file without a name: {re.escape(repr(name))}")


@pytest.mark.parametrize("name", ["a//2.png", "./a/2.png", "a/./2.png"])
def test_z6_a_roundabout_name_is_the_plain_one(tmp_path, name):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE), (member(name), IMAGE))
    assert layouts.understood(archives.names_in(path), "it").counts == {"a": 2}
    archives.extract(path, tmp_path / "unpacked")
    assert tree(tmp_path / "unpacked") == ["a", "a/1.png", "a/2.png"]


@pytest.mark.parametrize(
    "name",
    ["a/" + "x" * 300 + ".png", "a/1.png\0.exe", "\0", "./", "/", "//", "a//", "../"],
    ids=["long", "nul", "only nul", "root", "slash", "slashes", "folder", "above"],
)
def test_z6_a_name_that_no_file_can_have_harms_nothing(tmp_path, name):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE), (member(name), IMAGE))
    before = tree(tmp_path)
    try:
        archives.extract(path, tmp_path / "unpacked")
        assert tree(tmp_path / "unpacked") == ["a", "a/1.png"]
    except DataError as refusal:
        assert str(tmp_path) not in str(refusal)
        assert tree(tmp_path) == before


def test_z6_a_name_in_an_old_encoding_is_imported(workspace, tmp_path):
    path = archive(tmp_path / "images.zip", ("a/nnnn.png", IMAGE))
    patched(path, b"nnnn", "肺炎".encode("shift-jis"))
    dataset = importing.import_path(workspace, path)
    assert len(dataset.images) == 1
    assert dataset.path_of(0).is_file()


def test_z6_a_name_that_is_not_the_unicode_it_claims_is_refused(tmp_path):
    path = archive(tmp_path / "images.zip", ("a/肺.png", IMAGE))
    refuse(patched(path, "肺".encode(), b"\xff\xfe\xfd"), "not written in utf-8")


def test_z7_a_locked_archive_is_refused(tmp_path):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE))
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    refuse(path, "protected by a password")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"image",
        lambda content: IMAGE,
    ],
    ids=["truncated", "empty", "text", "picture"],
)
def test_z7_what_is_no_whole_archive_is_refused(tmp_path, damage):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE))
    path.write_bytes(damage(path.read_bytes()))
    refuse(path, "cannot be read")


def test_z7_the_path_of_a_table_leads_to_its_folder(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("file,finding")
    refuse(path, "table.csv is no zip archive. Use the folder that holds it")


@pytest.mark.parametrize(
    "packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["deflate", "bzip2", "lzma"]
)
def test_z7_a_member_whose_packed_bytes_are_damaged_is_refused(tmp_path, packing):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", packing) as opened:
        opened.writestr("a/1.png", IMAGE + bytes(range(256)) * 8)
    content = bytearray(path.read_bytes())
    packed = content.index(b"a/1.png") + len("a/1.png")
    content[packed + 9 : packed + 15] = b"\xff" * 6
    path.write_bytes(content)
    refuse(path, "images.zip cannot be unpacked")


def test_z7_an_unknown_packing_is_refused(tmp_path):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x03\x04") + 8] = content[content.index(b"PK\x01\x02") + 10] = 97
    path.write_bytes(content)
    refuse(path, "cannot be unpacked")


def test_z7_a_missing_archive_is_refused(tmp_path):
    refuse(tmp_path / "images.zip", "cannot be read: No such file or directory")


def test_z8_a_failure_near_the_end_leaves_nothing(workspace, tmp_path):
    path = archive(tmp_path / "images.zip", *((f"a/{i}.png", IMAGE) for i in range(10)))

    def stop(share: float, message: str) -> None:
        if share > 0.27:  # unpacking is the first 30 % of an import
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        importing.import_path(workspace, path, progress=stop)
    assert os.listdir(workspace.uploads) == []
    assert list_datasets(workspace) == []


def test_z8_a_damaged_member_at_the_end_leaves_nothing(workspace, tmp_path):
    path = archive(tmp_path / "images.zip", ("a/1.png", IMAGE), ("a/2.png", b"nnnn"))
    with pytest.raises(DataError, match="Bad CRC-32"):
        importing.import_path(workspace, patched(path, b"nnnn", b"mmmm"))
    assert os.listdir(workspace.uploads) == []
    assert list_datasets(workspace) == []


def test_a_sound_archive_becomes_a_data_set_that_needs_it_no_more(workspace, tmp_path):
    path = archive(tmp_path / "images.zip", ("images/a/1.png", IMAGE), ("images/b/1.png", IMAGE))
    dataset = importing.import_path(workspace, path)
    path.unlink()
    assert dataset.name == "images"
    assert dataset.path_of(1).is_file()
    assert os.listdir(workspace.uploads) == []


def in_code_page(path: Path, names: list[str], encoding: str) -> Path:
    """An archive whose names are written in a code page, without the mark for UTF-8."""
    plain = [f"{number:04}{'x' * (len(name.encode(encoding)) - 4)}" for number, name in enumerate(names)]
    content = archive(path, *((name, IMAGE) for name in plain)).read_bytes()
    for old, name in zip(plain, names, strict=True):
        content = content.replace(old.encode(), name.encode(encoding))
    path.write_bytes(content)
    return path


NAMES = {
    "utf_8": ["Lungenentzündung/1.png", "Gesund/1.png"],
    "cp437": ["Lungenentzündung/1.png", "Gesund/Größe2.png"],
    "cp866": ["Пневмония/снимок1.png", "Норма/снимок2.png"],
    "cp1251": ["Пневмония/снимок1.png", "Норма/снимок2.png"],
    "cp932": ["肺炎/患者12.png", "正常/画像3.png", "新型コロナ/画像4.png"],
    "cp949": ["폐렴/환자12.png", "정상/영상3.png"],
    "gbk": ["肺炎/患者12.png", "正常/图像3.png", "新冠/患者4.png"],
    "big5": ["肺炎/病患12.png", "正常/影像3.png"],
}


@pytest.mark.parametrize("encoding", NAMES)
def test_names_in_a_code_page_are_read_as_they_were_written(tmp_path, encoding):
    path = in_code_page(tmp_path / "images.zip", NAMES[encoding], encoding)
    assert archives.names_in(path) == NAMES[encoding]
    archives.extract(path, tmp_path / "unpacked")
    assert [(tmp_path / "unpacked" / name).read_bytes() for name in NAMES[encoding]] == [IMAGE] * len(NAMES[encoding])
    assert importing.proposal(path).encoding == encoding


def test_another_code_page_can_be_chosen_and_one_that_does_not_fit_is_refused(tmp_path):
    names = ["דלקת/1.png", "בריא/2.png"]
    path = in_code_page(tmp_path / "images.zip", names, "cp862")
    assert archives.names_in(path, "cp862") == names
    assert archives.encodings_of(path)["cp862"] == names[0]
    with pytest.raises(DataError):
        archives.names_in(path, "utf_8")


def test_plain_names_need_no_code_page(tmp_path):
    assert archives.encodings_of(archive(tmp_path / "images.zip", ("COVID/1.png", IMAGE), ("Größe/1.png", IMAGE))) == {}
