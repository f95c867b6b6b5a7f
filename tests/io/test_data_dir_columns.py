"""A data directory said to be sound has no defect that the walk over its lines finds; a whole one is said to be."""

import random
import shutil
import struct

import numpy as np
import pytest

from wespk.io import columns, data_dir
from wespk.io.ark import ArkWriter
from wespk.io.data_dir import validate
from wespk.io.data_dir_columns import tables_are_sound
from wespk.io.data_dir_contents import features_are_sound
from wespk.io.tables import spk2utt_of, write_table

TABLES = ["utt2spk", "spk2utt", "wav.scp", "utt2dur", "utt2num_frames", "feats.scp", "vad.scp"]
IDS = [f"{speaker}-{letter}-{n}" for speaker in ("id1", "id10", "id2é") for letter in "st" for n in range(2)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A sound folder with features, whose tables are read in blocks of a few lines."""
    monkeypatch.setattr(columns, "_SIZE", 64)
    made = tmp_path / "data"
    made.mkdir()
    utt2spk = {name: name.partition("-")[0] for name in IDS}
    write_table(made / "utt2spk", utt2spk)
    write_table(made / "spk2utt", {s: " ".join(u) for s, u in spk2utt_of(utt2spk).items()})
    write_table(made / "wav.scp", {name: f"/corpus/{name}.wav" for name in IDS})
    write_table(made / "utt2dur", {name: f"{0.5 + n / 7:.4g}" for n, name in enumerate(IDS)})
    write_table(made / "utt2num_frames", {name: 5 + n for n, name in enumerate(IDS)})
    for kind, cols in (("feats", (4,)), ("vad", ())):
        for part in (1, 2):
            paths = tmp_path / f"{kind}.{part}.ark", tmp_path / f"{kind}.{part}.scp"
            with ArkWriter(*paths, compress=kind == "feats") as ark:
                for n, name in enumerate(IDS):
                    if n % 2 + 1 == part:
                        ark.write(name, np.random.default_rng(n).normal(size=(5 + n, *cols)))
        parts = [(tmp_path / f"{kind}.{part}.scp").read_text().splitlines() for part in (1, 2)]
        (made / f"{kind}.scp").write_text("".join(f"{line}\n" for line in sorted(parts[0] + parts[1], key=str.encode)))
    return made


def walked(folder, **options):
    """``validate`` by the walk over all lines alone."""
    before = data_dir.tables_are_sound
    data_dir.tables_are_sound = lambda *_: False
    try:
        return validate(folder, check_audio=False, **options)
    finally:
        data_dir.tables_are_sound = before


def spoil(rng, content):
    """A table's or an ark's bytes with a small change."""
    lines = content.splitlines(keepends=True)
    line, place, other = rng.randrange(len(lines)), rng.randrange(len(content)), rng.randrange(len(lines))
    word = rng.choice([*b" \t\n09-.:\x00\xff", b"  ", b"\r\n", "é".encode(), b"id2"])
    word = bytes([word]) if isinstance(word, int) else word
    way = rng.randrange(7)
    if way < 2:
        return content[:place] + word + content[place + way :]
    if way == 2:
        return content[:place] + content[place + rng.randrange(1, 4) :]
    if way == 3:
        lines[line], lines[other] = lines[other], lines[line]
    elif way == 4:
        lines.insert(other, lines[line])
    elif way == 5:
        lines.pop(line)
    else:
        fields = lines[line].split(b" ")
        rng.shuffle(fields)
        lines[line] = b" ".join(fields).replace(b"\n", b"") + b"\n"
    return b"".join(lines)


def test_a_whole_directory_is_sound_and_none_of_its_tables_is_made_a_dict(folder, monkeypatch):
    assert tables_are_sound(folder, TABLES) and features_are_sound(folder, TABLES) and walked(folder) == []
    monkeypatch.setattr(data_dir, "scan_table", None)
    assert validate(folder, check_audio=False) == []


@pytest.mark.parametrize("name", TABLES)
def test_whatever_the_walk_finds_in_a_spoilt_table_is_found(folder, name):
    rng, whole, defective = random.Random(name), (folder / name).read_bytes(), 0
    for _ in range(20):
        (folder / name).write_bytes(spoil(rng, whole))
        expected = walked(folder)
        assert validate(folder, check_audio=False) == expected
        if expected:
            defective += 1
            assert not (tables_are_sound(folder, TABLES) and features_are_sound(folder, TABLES))
    assert defective > 8


@pytest.mark.parametrize("change", [
    lambda lines: [lines[1], lines[0], *lines[2:]],
    lambda lines: [lines[0], *lines],
    lambda lines: [lines[0].replace(b"-", b"+", 1), *lines[1:]],
])  # fmt: skip
def test_tables_that_agree_on_something_wrong_are_not_sound(folder, change):
    for name in TABLES:
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        if name == "spk2utt":
            speaker, *words = lines[0].split()
            lines[0] = b" ".join([speaker, *change(words)]) + b"\n"
        else:
            lines = change(lines)
        (folder / name).write_bytes(b"".join(lines))
    expected = walked(folder)
    assert validate(folder, check_audio=False) == expected
    assert tables_are_sound(folder, TABLES) == (not [defect for defect in expected if ".ark" not in defect.message])


@pytest.mark.parametrize("changes", [
    {"utt2spk": (b" id10\n", b" id11\n"), "spk2utt": (b"id10 ", b"id11 ")},
    {"utt2dur": (b" 0.5\n", b" 0\n")},
    {"utt2dur": (b" 0.5\n", b" inf\n")},
    {"utt2num_frames": (b" 5\n", b" 6\n")},
])  # fmt: skip
def test_speakers_that_do_not_begin_their_ids_and_wrong_numbers_are_found(folder, changes):
    for name, words in changes.items():
        (folder / name).write_bytes((folder / name).read_bytes().replace(*words))
    assert validate(folder, check_audio=False) == walked(folder) != []


@pytest.mark.parametrize("kind", ["feats", "vad"])
def test_whatever_the_walk_finds_in_a_spoilt_ark_is_found(folder, kind):
    ark, rng, defective = folder.parent / f"{kind}.2.ark", random.Random(kind), 0
    whole = ark.read_bytes()
    for _ in range(25):
        place = rng.randrange(len(whole))
        content = whole[:place] + bytes([rng.randrange(256)]) + whole[place + 1 :]
        ark.write_bytes(content if rng.random() < 0.7 else content[: rng.randrange(len(content))])
        expected = walked(folder)
        assert validate(folder, check_audio=False) == expected
        defective += bool(expected)
    assert defective > 5


@pytest.mark.parametrize(("kind", "size"), [(b"DM", 1 << 30), (b"FM", (1 << 31) - 1)])
def test_matrices_said_to_be_larger_than_64_bits_count_are_found(folder, kind, size):
    (folder / "large.ark").write_bytes(b"\0B" + kind + struct.pack("< c b i b i", b" ", 4, size, 4, size) + bytes(100))
    write_table(folder / "feats.scp", dict.fromkeys(IDS, f"{folder}/large.ark:0"))
    (folder / "utt2num_frames").unlink()
    assert len(validate(folder, check_audio=False)) == len(IDS)


@pytest.mark.parametrize("change", [
    lambda folder: (folder / "utt2spk").unlink(),
    lambda folder: [(folder / name).unlink() for name in ("wav.scp", "feats.scp")],
    lambda folder: write_table(folder / "segments", {name: f"{name} 0 0.5" for name in IDS}),
    lambda folder: write_table(folder / "utt2utts", {name: f"{name} {name}-more" for name in IDS}),
    lambda folder: (folder / "utt2dur").write_text(""),
    lambda folder: (folder / "utt2num_frames").unlink(),
])  # fmt: skip
def test_tables_that_are_missing_or_have_rules_of_their_own_are_left_to_the_walk(folder, change):
    change(folder)
    there = [name for name in [*TABLES, "segments", "utt2utts"] if (folder / name).is_file()]
    assert validate(folder, check_audio=False) == walked(folder)
    assert tables_are_sound(folder, there) == (there == [name for name in TABLES if name != "utt2num_frames"])


def test_speakers_in_training_are_told_and_others_need_no_walk_over_the_training_set(folder, tmp_path):
    train = tmp_path / "train"
    shutil.copytree(folder, train)
    assert len(validate(folder, check_audio=False, train_dir=train)) == 3
    (train / "utt2spk").write_text("".join(f"x{name} x{name[:3]}\n" for name in IDS))
    assert validate(folder, check_audio=False, train_dir=train) == []
    (train / "utt2spk").write_text("x-1 x\nx\nid1-s-0 id1\n")  # defective, which is told when that folder is checked
    assert [defect.item for defect in validate(folder, check_audio=False, train_dir=train)] == ["id1-s-0"]
