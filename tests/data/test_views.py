"""Views of an utterance: clean ones as they are, the others each with its own noise or copy; all of one class."""

import numpy as np
import pytest
import torch

from tests.data.test_waves import conf as wave_conf
from tests.data.test_waves import data_dir as wave_dir  # noqa: F401 (a fixture)
from wespk.corpora.label_noise import write_labels
from wespk.data import build_source
from wespk.data.group_sampler import plan_batches
from wespk.data.loader import stream
from wespk.data.views import view_numbers
from wespk.io.ark import ArkWriter, read_array, read_scp
from wespk.io.audio import floating
from wespk.io.tables import read_table, write_table
from wespk.utils import config
from wespk.utils.errors import InputError

WAVES = "augment.prob=1.0 augment.speeds=[0.9,1.1] "


def batches(source, epochs=1, workers=0, utterances=None):
    plan = plan_batches(source.labels, utterances, 4, seed=3)
    for batch in stream(source, plan, 0, epochs * plan.steps_per_epoch, workers):
        yield batch, source.finish(batch, torch.device("cpu"))


def of_waves(folder, sets="", **options):
    return build_source(wave_conf(WAVES + sets), folder, folder, folder, views=True, **options)


def by_item(source, epochs=1, workers=0):
    return {(b.epoch, int(i)): f for b, feats in batches(source, epochs, workers) for i, f in zip(b.items, feats)}


def test_view_numbers_are_the_items_for_the_first_view_and_differ_for_all_others():
    numbers = view_numbers([0, 7, 10**9], 0, 3)
    assert numbers[:, 0].tolist() == [0, 7, 10**9]
    assert len(np.unique(numbers)) == 9 and (view_numbers([7], 1, 3) == numbers[1:2, 1:]).all()


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("crops", ["same", "own"])
def test_the_clean_view_of_a_waveform_is_what_training_without_noise_gives(wave_dir, number, crops):  # noqa: F811
    plain = build_source(wave_conf("augment.speeds=[0.9,1.1]"), wave_dir)
    found, alone = by_item(of_waves(wave_dir, f"views.number={number} views.crops={crops}"), 2), by_item(plain, 2)
    assert found.keys() == alone.keys()
    for key, feats in found.items():
        assert feats.shape == (number, 50, 20)
        torch.testing.assert_close(feats[0], alone[key], atol=1e-4, rtol=0)
        assert all((feats[view] - feats[0]).abs().mean() > 1e-3 for view in range(1, number))
    alike = sum(torch.equal(feats[-1], feats[-2]) for feats in found.values())
    assert alike < len(found) / 2  # two views may draw the same impulse response


def test_augmented_views_are_those_of_an_utterance_with_the_views_number(wave_dir):  # noqa: F811
    """The noise of view 1 of item i is what the same augmentation would give an utterance numbered so."""
    source = of_waves(wave_dir, "features.cmn=none")
    (batch, feats), *_ = batches(source)
    items = batch.items.numpy()
    waves = source.augment.change_speed(floating(batch.inputs["waves"][:, 0]), items, source.chunk, 3, 0)
    spoilt = source.augment.spoil(waves.clone(), view_numbers(items, 1, 2)[:, 0], 3, 0)
    torch.testing.assert_close(feats[:, 1], source.front_end(spoilt), atol=1e-4, rtol=0)


@pytest.mark.parametrize("sets", ["", "views.crops=own", "views.masked=all augment.mask_prob=0.9", "views.clean=0"])
def test_views_do_not_depend_on_workers(wave_dir, sets):  # noqa: F811
    found = [by_item(of_waves(wave_dir, sets), 2, workers) for workers in (0, 2)]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_views_of_one_crop_are_read_once_and_own_crops_each_by_itself(wave_dir):  # noqa: F811
    same, own = of_waves(wave_dir, "views.number=3"), of_waves(wave_dir, "views.number=3 views.crops=own")
    (a, _), *_ = batches(same)
    (b, feats), *_ = batches(own)
    assert a.inputs["waves"].shape[1] == 1 and b.inputs["waves"].shape[1] == 3 and feats.shape[1] == 3
    long = max(range(len(b.items)), key=lambda row: own.samples[b.items[row]])
    rows = b.inputs["waves"][long]
    assert torch.equal(rows[0], a.inputs["waves"][long, 0]) and not torch.equal(rows[0], rows[1])


def test_masks_are_for_augmented_views_unless_all_are_to_have_them(wave_dir):  # noqa: F811
    def zeroed(sets):
        source = of_waves(wave_dir, f"augment.mask_prob=1.0 augment.time_width=20 {sets}")
        feats = torch.cat([f for _, f in batches(source)])
        return [(feats[:, view] == 0).float().mean().item() for view in (0, 1)]

    clean, augmented = zeroed("")
    assert clean == 0 and augmented > 0.1
    assert min(zeroed("views.masked=all")) > 0.1


def test_all_views_of_an_utterance_have_one_label_and_groups_one_speed(wave_dir):  # noqa: F811
    seen = set()
    for batch, _ in batches(of_waves(wave_dir, grouped=True), 8, utterances=2):
        labels, counts = np.unique(batch.labels, return_counts=True)
        assert (counts == 2).all()
        seen |= set(labels.tolist())
    assert len(seen) > 2  # several speeds were drawn


def test_more_views_than_copies_may_repeat_one_if_something_else_tells_them_apart(ark_dir):
    folder, _, keys = ark_dir
    source = of_feats(folder, "views.number=4 views.crops=own")
    found = {tuple(keys[int(view[0, 0])].split("-")[-1] for view in views[1:]) for _, feats in batches(source, 4) for views in feats}
    assert all(set(kinds) <= {"noise", "reverb"} for kinds in found) and len(found) > 4
    with pytest.raises(InputError, match="always be equal"):
        of_feats(folder, "views.number=4")


def test_wrong_labels_are_counted_for_utterances_and_not_for_their_copies(ark_dir):
    folder, names, _keys = ark_dir
    sets = "labels.noise=uniform labels.rate=0.5 "
    write_labels(config.load(sets=SETS + KINDS + sets)["labels"], folder, folder)
    source = of_feats(folder, sets)
    given = read_table(folder / "label_noise" / "uniform-50-seed0" / "utt2spk")
    true = read_table(folder / "utt2spk")
    assert source.relabelled == sum(given[name] != true[name] for name in names) > 0


@pytest.mark.parametrize("sets, says", [
    ("views.clean=3", "views.clean=3 of views.number=2"),
    ("views.clean=2 augment.prob=0 augment.speeds=[]", "views.crops=own, views.clean=1"),
    ("views.clean=2 views.crops=own", "leaves no view for augment.prob=1 and"),
    ("views.clean=2 augment.prob=0 augment.speeds=[] views.crops=own augment.mask_prob=0.5", "augment.mask_prob=0.5"),
    ("augment.prob=0 augment.speeds=[]", "several of an utterance would always be equal"),
])
def test_views_that_would_be_equal_are_refused(wave_dir, sets, says):  # noqa: F811
    with pytest.raises(InputError, match=says):
        of_waves(wave_dir, sets)


@pytest.mark.parametrize("sets", [
    "views.clean=2 views.crops=own augment.prob=0 augment.speeds=[]", "views.number=1 views.clean=0",
    "views.clean=2 views.masked=all augment.mask_prob=0.5 augment.prob=0 augment.speeds=[]", "views.number=2 views.clean=0",
    "augment.prob=0 augment.speeds=[] augment.mask_prob=0.5"])
def test_views_that_differ_somehow_are_taken(wave_dir, sets):  # noqa: F811
    assert len(list(batches(of_waves(wave_dir, sets)))) == 2


SETS = "features.num_mel_bins=6 data.chunk_frames=30 data.min_frames=20 features.cmn=none seed=3 "
KINDS = "copies.kinds=[noise,reverb] copies.speeds=[0.9] "


@pytest.fixture
def ark_dir(tmp_path):
    """Four utterances of two speakers and their speed copies, each with two copies; a frame says whose it is and when."""
    names = [f"{speed}s{i % 2}-u{i}" for i in range(4) for speed in ("", "sp0.9-")]
    keys = [name + suffix for name in names for suffix in ("", "-noise", "-reverb")]
    with ArkWriter(tmp_path / "f.ark", tmp_path / "feats.scp", compress=0) as ark:
        for key in keys:
            frames = np.zeros((60 + 5 * names.index(key.rsplit("-", 1)[0] if key not in names else key), 6), np.float32)
            frames[:, 0], frames[:, 1] = keys.index(key), np.arange(len(frames))
            ark.write(key, frames)
    write_table(tmp_path / "utt2num_frames", {k: str(len(read_array(v))) for k, v in read_scp(tmp_path / "feats.scp").items()})
    write_table(tmp_path / "utt2spk", {k: "-".join(k.split("-")[:-2 if k not in names else -1]) for k in keys})
    return tmp_path, names, keys


def of_feats(folder, sets=""):
    return build_source(config.load(sets=SETS + KINDS + sets), folder, views=True)


def test_views_out_of_arks_are_the_utterance_and_its_own_copies(ark_dir):
    folder, names, keys = ark_dir
    source = of_feats(folder, "views.number=3 ")
    assert len(source.labels) == len(names) and source.speakers == ["s0", "s1", "sp0.9-s0", "sp0.9-s1"]
    seen = set()
    for batch, feats in batches(source, 6):
        for item, label, views in zip(batch.items, batch.labels, feats):
            name = source.describe([item])
            assert name in names and source.speakers[label] == "-".join(name.split("-")[:-1])
            found = [keys[int(view[0, 0])] for view in views]
            assert found[0] == name and {f.removeprefix(name) for f in found[1:]} <= {"-noise", "-reverb"}
            assert torch.equal(views[0, :, 1], views[1, :, 1])  # the same frames
            seen.add(tuple(f.removeprefix(name) for f in found[1:]))
    assert seen == {("-noise", "-reverb"), ("-reverb", "-noise")}  # another copy in each view, either in either


def test_own_crops_out_of_arks_are_of_other_frames(ark_dir):
    folder, _, _ = ark_dir
    different = sum((feats[:, 0, 0, 1] != feats[:, 1, 0, 1]).sum() for _, feats in batches(of_feats(folder, "views.crops=own"), 3))
    assert different > 15


def test_a_copy_that_is_missing_is_named(ark_dir):
    folder, _, _ = ark_dir
    table = read_scp(folder / "feats.scp")
    del table["s1-u1-reverb"]
    write_table(folder / "feats.scp", table)
    with pytest.raises(InputError, match="lacks 's1-u1-reverb', a copy that copies.kinds"):
        of_feats(folder)


def test_a_resumed_run_must_find_the_copies_unchanged_too(ark_dir):
    folder, _names, keys = ark_dir
    lines = list(of_feats(folder).identity())
    assert len(lines) == len(keys) and lines[keys.index("s0-u0-noise")].split()[0] in keys
