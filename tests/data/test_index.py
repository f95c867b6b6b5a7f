"""The index for training, made of columns: the same labels, copies and identity as dicts of all utterances give."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.io.test_columns import outcome
from wespk.data.identity import Identity
from wespk.data.labels import label_for_training, with_label
from wespk.data.speakers import label_speakers, without_speed_copies
from wespk.data.views import _copies_by_utterance
from wespk.io.tables import write_table
from wespk.training.checkpoint import fingerprint
from wespk.utils.errors import InputError
from wespk.utils.strings import PackedStrings

_shared = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_names = st.tuples(st.sampled_from(["", "", "sp0.9-", "sp1.1-", "sp0.9-sp0.9-"]), st.sampled_from("abcé"),
                   st.sampled_from(["", "", "-noise", "-reverb", "-noise-reverb"])).map("".join)  # fmt: skip
_key_lists = st.lists(_names, min_size=2, max_size=14, unique=True)
_SPEEDS, _KINDS = [0.9, 1.1], ["noise", "reverb"]


def conf(file="", noise="none"):
    return {"labels": {"file": str(file), "noise": noise}, "copies": {"speeds": _SPEEDS, "kinds": _KINDS}}


def label_by_dicts(keys, listed):
    """The label that a table of labels gives to each utterance or copy: the rule, an utterance at a time."""
    labels = {}
    for key in keys:
        prefix = next((p for p in ("sp0.9-", "sp1.1-") if key not in listed and key.startswith(p)), "")
        original = key[len(prefix) :]
        if key not in listed and not prefix:
            original = original.removesuffix(next((f"-{kind}" for kind in _KINDS if key.endswith(f"-{kind}")), ""))
        if original in listed:
            labels[key] = prefix + listed[original]
    return labels


def copies_by_dicts(keys, kinds):
    """Rows of positions in ``keys``, or None where a copy is missing."""
    copies, at = {f"{key}-{kind}" for key in keys for kind in kinds}, {key: i for i, key in enumerate(keys)}
    rows = [[at[key], *(at.get(f"{key}-{kind}") for kind in kinds)] for key in keys if key not in copies]
    return None if any(None in row for row in rows) else rows


@_shared
@given(keys=_key_lists, order=st.randoms(), short=st.booleans())
def test_labels_are_those_of_a_dict_of_speakers(tmp_path, keys, order, short):
    speakers = {key: order.choice(["s1", "S", "é", "s10"]) for key in keys}
    lines = list(speakers)[short:]
    order.shuffle(lines)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {speakers[key]}\n" for key in lines), encoding="utf-8")
    path, read = tmp_path / "utt2spk", {key: speakers[key] for key in lines}
    expected = outcome(lambda: label_speakers(keys, read, path))
    found = outcome(lambda: label_for_training(conf(), tmp_path, PackedStrings(keys)))
    if isinstance(expected, str):
        assert found == expected
    else:
        assert found[0] == expected[0] and found[1].tolist() == expected[1].tolist() and found[2] == 0
        assert found[1].dtype == expected[1].dtype == np.int64


@_shared
@given(keys=_key_lists, data=st.data())
def test_labels_of_a_file_are_those_that_the_rule_gives_one_by_one(tmp_path, keys, data):
    some = data.draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    listed = {key: data.draw(st.sampled_from(["x", "y", "sp0.9-x"])) for key in some}
    write_table(tmp_path / "given", listed)
    expected, asked = label_by_dicts(keys, listed), conf(tmp_path / "given")
    kept = np.flatnonzero(with_label(asked, "data", PackedStrings(keys)))
    assert [keys[i] for i in kept] == list(expected)
    found = outcome(lambda: label_for_training(asked, "data", PackedStrings(keys).take(kept)))
    if len(set(expected.values())) < 2:
        assert "at least two speakers, found 1" in found
    else:
        assert [found[0][i] for i in found[1]] == list(expected.values())
        assert found[0] == sorted(set(expected.values()), key=str.encode)


@_shared
@given(keys=_key_lists)
def test_copies_at_other_speeds_are_what_has_an_original_among_the_others(keys):
    copies = {f"{prefix}{key}" for key in keys for prefix in ("sp0.9-", "sp1.1-")}
    expected = [key for key in keys if key not in copies]
    assert [keys[i] for i in np.flatnonzero(without_speed_copies(PackedStrings(keys), _SPEEDS))] == expected


@_shared
@given(keys=_key_lists, kinds=st.sampled_from([[], ["noise"], ["noise", "reverb"]]), complete=st.booleans())
def test_copies_stand_beside_their_utterance(keys, kinds, complete):
    if complete:
        keys = list(dict.fromkeys([*keys, *(f"{key}-{kind}" for key in keys for kind in kinds)]))
        keys = list(dict.fromkeys([*keys, *(f"{key}-{kind}" for key in keys for kind in kinds)]))
    expected = copies_by_dicts(keys, kinds)
    if expected is None:
        with pytest.raises(InputError, match="/feats.scp lacks '"):
            _copies_by_utterance(PackedStrings(keys), kinds, "data")
    else:
        assert _copies_by_utterance(PackedStrings(keys), kinds, "data").tolist() == expected


@_shared
@given(keys=st.lists(st.text("ab\x00é", min_size=1, max_size=9), max_size=8), draw=st.randoms(),
       least=st.sampled_from([-3, 0, 0, 0]))  # fmt: skip
def test_the_identity_by_blocks_is_the_identity_by_lines(keys, draw, least):
    labels, lengths = (np.array([draw.randint(least, 10 ** draw.randint(1, 12)) for _ in keys], np.int64) for _ in "ab")
    lines = [f"{key} {label} {length}" for key, label, length in zip(keys, labels, lengths)]
    identity = Identity(PackedStrings(keys), labels, lengths)
    assert list(identity) == lines
    assert b"".join(identity.blocks()) == "".join(f"{line}\n" for line in lines).encode()
    assert fingerprint(identity) == fingerprint(lines)


def test_many_lines_are_given_in_several_blocks(monkeypatch):
    monkeypatch.setattr("wespk.data.identity._AT_ONCE", 7)
    numbers = np.arange(40)
    identity = Identity(PackedStrings(f"u{i}" for i in numbers), numbers * 10, numbers)
    assert len(list(identity.blocks())) == 6
    assert b"".join(identity.blocks()).decode().splitlines() == list(identity)
