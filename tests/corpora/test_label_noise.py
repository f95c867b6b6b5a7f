"""Wrong labels put in on purpose: so many, the same for a seed, those of a lower rate among those of a higher one."""

import itertools
from fractions import Fraction
from hashlib import blake2b

import numpy as np
import pytest

from wespk.corpora.label_noise import follow, relabel, write_labels
from wespk.data.labels import noise_folder, noise_name, training_labels
from wespk.io.tables import read_table, write_table
from wespk.utils import config
from wespk.utils.errors import InputError

RATES = [0.05, 0.1, 0.2, 0.3, 0.5, 0.77, 1.0]
KINDS = ["uniform", "class_wise"]


def table_of(*sizes):
    return {f"s{s}-u{u}": f"s{s}" for s, size in enumerate(sizes) for u in range(size)}


TABLE = table_of(7, 1, 12, 4, 9, 30, 2, 5, 5, 16)  # 91 utterances of 10 speakers


def wrong(utt2spk, *words):
    given = relabel(utt2spk, *words).utt2spk
    assert given.keys() == utt2spk.keys()
    return {name: given[name] for name in utt2spk if given[name] != utt2spk[name]}


def draw(*words):
    return int(blake2b(" ".join(map(str, words)).encode(), digest_size=8).hexdigest(), 16)


def slow_uniform(utt2spk, number, seed):
    """One utterance after another, always the one of the lowest draw of those that are left."""
    left, found = list(utt2spk), {}
    while len(found) < number:
        name = min(left, key=lambda utterance: draw(seed, "turn", utterance))
        left.remove(name)
        others = [speaker for speaker in sorted(set(utt2spk.values())) if speaker != utt2spk[name]]
        found[name] = others[int(Fraction(draw(seed, "speaker", name), 2**64) * len(others))]
    return found


def slow_class_wise(utt2spk, rate, seed):
    """One more at a time to the speaker of the lowest (2k + 1) / 2n, of k chosen out of n; of equals by the draw."""
    waiting = sorted(set(utt2spk.values()), key=lambda speaker: draw(seed, "pair", speaker))
    partner = {}
    while len(waiting) > 1:
        a, b = waiting.pop(0), waiting.pop(0)
        partner |= {a: b, b: a}
    queues = {speaker: sorted((draw(seed, "turn", u), u) for u in utt2spk if utt2spk[u] == speaker) for speaker in partner}
    sizes, found = {speaker: len(queue) for speaker, queue in queues.items()}, {}
    for _ in range(round(rate * sum(sizes.values()))):
        turns = [(Fraction(2 * (sizes[s] - len(queue)) + 1, 2 * sizes[s]), queue[0][0], s) for s, queue in queues.items() if queue]
        speaker = min(turns)[2]
        found[queues[speaker].pop(0)[1]] = partner[speaker]
    return found


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_same_as_by_a_slow_way(rate, seed):
    assert wrong(TABLE, "uniform", rate, seed) == slow_uniform(TABLE, round(rate * 91), seed)
    assert wrong(TABLE, "class_wise", rate, seed) == slow_class_wise(TABLE, rate, seed)
    odd = table_of(12, 18, 13)
    assert wrong(odd, "class_wise", rate, seed) == slow_class_wise(odd, rate, seed)


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("rate", RATES)
def test_exactly_the_rate_of_the_utterances_is_relabelled(noise, rate):
    for seed in range(5):
        assert len(wrong(TABLE, noise, rate, seed)) == round(rate * 91)


@pytest.mark.parametrize("noise", KINDS)
def test_a_higher_rate_adds_to_a_lower_one(noise):
    rates = np.linspace(0.02, 1, 50)
    steps = [wrong(TABLE, noise, float(rate), 3) for rate in rates]
    assert all(a.items() <= b.items() for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize("noise", KINDS)
def test_the_order_of_the_table_and_other_seeds_count_as_they_should(noise):
    shuffled = dict(sorted(TABLE.items(), key=lambda item: draw("any", item[0])))
    assert list(shuffled) != list(TABLE)
    first = relabel(TABLE, noise, 0.3, 7)
    assert first.utt2spk == relabel(shuffled, noise, 0.3, 7).utt2spk == relabel(TABLE, noise, 0.3, 7).utt2spk
    assert first.utt2spk != relabel(TABLE, noise, 0.3, 8).utt2spk


def test_uniform_labels_are_any_of_the_others_evenly():
    table = table_of(2000, 2000, 2000, 2000)
    found = wrong(table, "uniform", 1.0, 5)
    for speaker in ("s0", "s3"):
        labels = [label for name, label in found.items() if table[name] == speaker]
        counts = {label: labels.count(label) for label in labels}
        assert counts.keys() == {"s0", "s1", "s2", "s3"} - {speaker}
        assert all(abs(n - 2000 / 3) < 85 for n in counts.values())  # four standard deviations of a binomial


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_class_wise_exchanges_the_rate_of_each_speaker_within_pairs(rate):
    table = table_of(*range(20, 61))  # 41 speakers
    found = relabel(table, "class_wise", rate, 2)
    partners = {}
    for name, speaker in table.items():
        if found.utt2spk[name] != speaker:
            assert partners.setdefault(speaker, found.utt2spk[name]) == found.utt2spk[name]
    assert len(partners) == 40 and all(partners[b] == a for a, b in partners.items())
    assert found.alone in set(table.values()) - partners.keys()
    for s, size in enumerate(range(20, 61)):
        number = sum(found.utt2spk[f"s{s}-u{u}"] != f"s{s}" for u in range(size))
        assert number == 0 if f"s{s}" == found.alone else abs(number - rate * size) <= 1


def test_class_wise_at_half_makes_two_speakers_one_and_at_one_exchanges_their_names():
    table = table_of(10, 10)
    half = relabel(table, "class_wise", 0.5, 0).utt2spk
    assert [sum(half[f"{s}-u{u}"] == "s0" for u in range(10)) for s in ("s0", "s1")] == [5, 5]
    assert relabel(table, "class_wise", 1.0, 0).utt2spk == {name: {"s0": "s1", "s1": "s0"}[s] for name, s in table.items()}


@pytest.mark.parametrize("noise", KINDS)
def test_what_cannot_be_relabelled_is_refused(noise):
    with pytest.raises(InputError, match="at least two speakers, found 1"):
        relabel(table_of(5), noise, 0.5, 0)
    with pytest.raises(InputError, match="labels.rate=0.001 of 91 utterances is none"):
        relabel(TABLE, noise, 0.001, 0)


# --- copies and files -----------------------------------------------------------------------------------------------
def with_copies(utt2spk):
    whole = dict(utt2spk)
    for name, speaker in utt2spk.items():
        whole |= {f"sp{f}-{name}": f"sp{f}-{speaker}" for f in ("0.9", "1.1")} | {f"{name}-{k}": speaker for k in ("noise", "reverb")}
    return whole


def test_copies_go_with_their_originals():
    given = relabel(TABLE, "uniform", 0.4, 1).utt2spk
    labels = follow(with_copies(TABLE), TABLE, given)
    for name, label in given.items():
        assert labels[name] == labels[f"{name}-noise"] == labels[f"{name}-reverb"] == label
        assert (labels[f"sp0.9-{name}"], labels[f"sp1.1-{name}"]) == (f"sp0.9-{label}", f"sp1.1-{label}")
    assert len(labels) == 5 * len(TABLE)


def test_an_original_whose_id_looks_like_a_copys_is_itself():
    originals = {"sp0.9-a": "sp0.9", "a": "a", "a-noise": "b"}
    given = {"sp0.9-a": "x", "a": "y", "a-noise": "z"}
    assert follow(originals, originals, given) == given


@pytest.mark.parametrize("spoil, says", [
    ({"t-u1": "t"}, "'t-u1' is neither an original utterance nor a copy of one"),
    ({"sp0.9-s0-u0": "sp0.9-s1"}, "'sp0.9-s0-u0' is of 'sp0.9-s1', but its original 's0-u0' of 's0'"),
    ({"s0-u0": "s5"}, "'s0-u0' is of 's5', but its original"),
    (dict.fromkeys(["s2-u3", *(f"{a}s2-u3{b}" for a, b in [("sp0.9-", ""), ("sp1.1-", ""), ("", "-noise"), ("", "-reverb")])]),
     "lacks the original utterance 's2-u3'"),
])
def test_a_folder_that_does_not_go_with_the_originals_is_refused(spoil, says):
    own = {name: speaker for name, speaker in (with_copies(TABLE) | spoil).items() if speaker}
    with pytest.raises(InputError, match=says):
        follow(own, TABLE, TABLE)


def section(noise="uniform", rate=0.2, seed=1):
    return {"noise": noise, "rate": rate, "seed": seed}


@pytest.fixture
def folders(tmp_path):
    write_table(tmp_path / "train" / "utt2spk", TABLE)
    write_table(tmp_path / "train_aug" / "utt2spk", with_copies(TABLE))
    return tmp_path / "train_aug", tmp_path / "train"


def test_what_is_written_says_who_was_relabelled(folders):
    said = write_labels(section(), *folders)
    folder = folders[0] / "label_noise" / "uniform-20-seed1"
    assert folder == noise_folder(section(), folders[0])
    given, changes = read_table(folder / "utt2spk"), read_table(folder / "relabelled")
    true = with_copies(TABLE)
    assert changes == {name: f"{true[name]} {given[name]}" for name in true if given[name] != true[name]}
    assert {name: given[name] for name in TABLE} == relabel(TABLE, "uniform", 0.2, 1).utt2spk
    assert list(given) == sorted(given) and len(changes) == 18 * 5
    assert said == (f"{folder}: uniform-20-seed1 gives 18 of 91 utterances (19.78 %) another speaker's label, 90 of 455 with "
                    "their copies; 0 of 30 speakers have no utterance left")
    assert read_table(folders[0] / "utt2spk") == true


def test_speakers_without_an_utterance_and_without_a_partner_are_told(tmp_path):
    write_table(tmp_path / "utt2spk", table_of(1, 1, 1))
    found = relabel(table_of(1, 1, 1), "class_wise", 0.5, 0)
    said = write_labels(section("class_wise", 0.5, 0), tmp_path, tmp_path)
    assert said.endswith(f"; 1 of 3 speakers have no utterance left; {found.alone} has no partner and keeps its own")
    assert "with their copies" not in said


def test_only_what_differs_is_written_again(folders):
    write_labels(section(), *folders)
    folder = noise_folder(section(), folders[0])
    files = [folder / "utt2spk", folder / "relabelled"]
    content, before = [file.read_bytes() for file in files], [file.stat().st_ino for file in files]
    write_labels(section(), *folders)
    assert [file.stat().st_ino for file in files] == before
    files[0].write_bytes(content[0][:-1])
    files[1].write_bytes(content[1] + b"x y z\n")
    write_labels(section(), *folders)
    assert [file.read_bytes() for file in files] == content


def test_names_tell_rates_apart():
    rates = [1 / 3, 0.333333, 0.07, 0.29, 0.125, 1.0, 0.1 + 0.2]
    assert [noise_name(section(rate=rate)) for rate in rates] == [
        f"uniform-{text}-seed1" for text in ("33.3333333333", "33.3333", "7", "29", "12.5", "100", "30")]


# --- what training reads --------------------------------------------------------------------------------------------
NOISE = "labels.noise=uniform labels.rate=0.2 labels.seed=1"


def test_training_reads_the_given_labels(folders):
    write_labels(section(), *folders)
    labels, changed, path = training_labels(config.load(sets=NOISE), folders[0])
    assert path == noise_folder(section(), folders[0]) / "utt2spk" and labels == read_table(path)
    assert len(changed) == 90
    labels, changed, path = training_labels(config.load(), folders[0])
    assert labels == with_copies(TABLE) and not changed and path == folders[0] / "utt2spk"


def test_labels_that_are_not_there_are_asked_for_by_command(folders):
    write_labels(section(seed=2), *folders)
    with pytest.raises(InputError, match="uniform-20-seed1/relabelled does not exist: make it with `python -m "
                                         f"wespk.bin.relabel --train-data {folders[0]}"):
        training_labels(config.load(sets=NOISE), folders[0])


def changed_utterance(table):
    """An utterance of s5 (there are plenty) that was relabelled, or was not."""
    given = relabel(TABLE, "uniform", 0.2, 1).utt2spk
    return next(u for u in TABLE if TABLE[u] == "s5" and (given[u] != "s5") == (table == "wrong"))


@pytest.mark.parametrize("spoil", [
    lambda own: own | {"s5-new": "s5"},
    lambda own: {name: speaker for name, speaker in own.items() if name != changed_utterance("wrong")},
    lambda own: {name: speaker for name, speaker in own.items() if name != changed_utterance("right")},
    lambda own: own | {changed_utterance("wrong"): "s0"},
    lambda own: own | {changed_utterance("right"): "s0"},
])
def test_labels_made_from_another_table_are_refused(folders, spoil):
    write_labels(section(), folders[1], folders[1])
    training_labels(config.load(sets=NOISE), folders[1])
    write_table(folders[1] / "utt2spk", spoil(TABLE))
    with pytest.raises(InputError, match="does not fit .*utt2spk, which has changed since, at 's5-.*wespk.bin.relabel"):
        training_labels(config.load(sets=NOISE), folders[1])


@pytest.mark.parametrize("sets", ["labels.noise=uniform", "labels.rate=0.1", "labels.noise=class_wise labels.rate=0.0"])
def test_half_a_wish_is_refused(sets):
    with pytest.raises(InputError, match="labels.noise=.* is half a wish"):
        config.load(sets=sets)
