"""Crops without labels: the teacher's clean and long, the student's short and each with its own noise; none out of silence."""

import numpy as np
import pytest
import torch

from tests.data.test_views import ark_dir  # noqa: F401 (a fixture)
from tests.data.test_waves import conf as wave_conf
from tests.data.test_waves import data_dir as wave_dir  # noqa: F401 (a fixture)
from wespk.data import build_source
from wespk.data.loader import stream
from wespk.data.sampler import EpochPlan
from wespk.utils import config
from wespk.utils.errors import InputError

SETS = "crops.teacher_frames=40 crops.student_frames=20 crops.student_number=3 augment.prob=1.0 "


def batches(source, epochs=1, workers=0):
    plan = EpochPlan(len(source.labels), 4, 1, 3)
    for batch in stream(source, plan, 0, epochs * plan.steps_per_epoch, workers):
        yield batch, source.finish(batch, torch.device("cpu"))


def by_item(source, epochs=1, workers=0):
    return {(b.epoch, int(item), part): crops[row] for b, found in batches(source, epochs, workers)
            for part, crops in found.items() for row, item in enumerate(b.items)}


def of_waves(folder, sets=""):
    return build_source(wave_conf(SETS + sets), folder, folder, folder, crops=True)


def test_the_teachers_crop_is_what_training_on_chunks_of_its_length_gives(wave_dir):  # noqa: F811
    found = by_item(of_waves(wave_dir), 2)
    plain = build_source(wave_conf("data.chunk_frames=40"), wave_dir)
    for batch, feats in batches(plain, 2):
        for item, row in zip(batch.items, feats):
            crops = found[batch.epoch, int(item), "teacher"]
            assert crops.shape == (1, 40, 20) and found[batch.epoch, int(item), "student"].shape == (3, 20, 20)
            torch.testing.assert_close(crops[0], row, atol=1e-4, rtol=0)


def test_the_students_crops_lie_apart_and_are_spoilt_by_themselves(wave_dir):  # noqa: F811
    clean, spoilt = of_waves(wave_dir, "augment.prob=0"), of_waves(wave_dir)
    for (a, before), (_, after) in zip(batches(clean), batches(spoilt), strict=True):
        waves = a.inputs["student"]
        for row, item in enumerate(a.items):
            if clean.samples[item] > 1.5 * waves.shape[-1]:
                assert not any(torch.equal(waves[row, i], waves[row, j]) for i in range(3) for j in range(i))
        assert torch.equal(before["teacher"], after["teacher"])
        assert (before["student"] - after["student"]).abs().mean((2, 3)).min() > 1e-3


@pytest.mark.parametrize("sets", ["", "crops.short=zeros crops.teacher_clean=false augment.mask_prob=0.9 crops.teacher_number=2"])
def test_crops_do_not_depend_on_workers(wave_dir, sets):  # noqa: F811
    alone, shared = by_item(of_waves(wave_dir, sets), 2), by_item(of_waves(wave_dir, sets), 2, 2)
    assert alone.keys() == shared.keys()
    assert all(torch.equal(alone[key], shared[key]) for key in alone)
    assert not torch.equal(alone[0, 3, "student"], alone[1, 3, "student"])  # others in another epoch


def test_short_utterances_are_repeated_or_padded_never_silence_alone(wave_dir):  # noqa: F811
    long = "crops.teacher_frames=200 crops.student_frames=150 augment.prob=0 "
    for sets in ("", "crops.short=zeros"):
        source = of_waves(wave_dir, long + sets)
        assert "8 are shorter than the longest crop" in source.summary()
        for batch, _ in batches(source):
            for item, crops in zip(batch.items, batch.inputs["student"]):
                num = int(source.samples[item])
                for wave in crops[:, :].numpy():
                    if num < len(wave):
                        rest = wave[num:]
                        assert (rest == (0 if sets else np.resize(wave[:num], len(wave))[num:])).all()
                    assert wave[: min(num, len(wave))].any()


def test_masks_are_for_the_student_unless_the_teacher_is_not_to_be_clean(wave_dir):  # noqa: F811
    for clean in (True, False):
        source = of_waves(wave_dir, f"augment.prob=0 augment.mask_prob=1.0 augment.time_width=20 crops.teacher_clean={clean}".lower())
        found = [crops for _, crops in batches(source)]
        zeros = {part: torch.cat([(crops[part] == 0).float().mean((1, 2, 3)) for crops in found]) for part in found[0]}
        assert zeros["student"].mean() > 0.1 and (zeros["teacher"].mean() > 0.02) == (not clean)


def test_without_a_teacher_there_are_the_students_crops_alone(wave_dir):  # noqa: F811
    (_, found), *_ = batches(of_waves(wave_dir, "crops.teacher_number=0"))
    assert found.keys() == {"student"}


def test_nothing_is_read_of_who_speaks(wave_dir):  # noqa: F811
    before, lines = by_item(of_waves(wave_dir)), list(of_waves(wave_dir).identity())
    (wave_dir / "utt2spk").unlink()
    source = of_waves(wave_dir)
    after = by_item(source)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert source.speakers == [] and not source.labels.any() and list(source.identity()) == lines


def test_crops_out_of_arks_are_of_the_utterance_and_its_copies(ark_dir):  # noqa: F811
    folder, names, keys = ark_dir
    (folder / "utt2spk").unlink()
    sets = ("features.num_mel_bins=6 data.min_frames=20 features.cmn=none copies.kinds=[noise,reverb] copies.speeds=[0.9] "
            "crops.teacher_frames=50 crops.student_frames=25 seed=3")
    source, seen = build_source(config.load(sets=sets), folder, crops=True), set()
    assert len(source.labels) == len(names)
    for batch, found in batches(source, 4):
        assert found["teacher"].shape[1:] == (1, 50, 6) and found["student"].shape[1:] == (4, 25, 6)
        for item, teacher, student in zip(batch.items, found["teacher"], found["student"]):
            name = source.describe([item])
            assert keys[int(teacher[0, 0, 0])] == name
            kinds = {keys[int(crop[0, 0])].removeprefix(name) for crop in student}
            assert kinds <= {"-noise", "-reverb"}
            seen.add((frozenset(kinds), len({float(crop[0, 1]) for crop in student})))
    assert (frozenset({"-noise", "-reverb"}), 4) in seen  # both kinds in one utterance, from four places


@pytest.mark.parametrize("sets, says", [
    ("augment.speeds=[0.9]", "set augment.speeds=\\[\\]"),
    ("augment.prob=0 data.input=feats crops.short=zeros", "set data.input=waves, or crops.short=wrap"),
])
def test_sections_that_do_not_go_together_are_refused(wave_dir, sets, says):  # noqa: F811
    with pytest.raises(InputError, match=says):
        of_waves(wave_dir, sets)


def test_missing_noises_are_told(wave_dir):  # noqa: F811
    with pytest.raises(InputError, match="give the noises"):
        build_source(wave_conf(SETS), wave_dir, crops=True)


def test_crops_longer_than_every_utterance_are_told(wave_dir, ark_dir):  # noqa: F811
    long = "crops.teacher_frames=900 crops.student_frames=800 augment.prob=0 "
    same = "none is longer than the student's crops, which are all of the same piece then: lower crops.student_frames"
    source = of_waves(wave_dir, long + "crops.short=zeros")
    assert f"{len(source.labels)} are shorter than the longest crop, and padded with zeros; {same}" in source.summary()
    (_, crops), *_ = batches(source)
    assert torch.equal(crops["student"][:, 0], crops["student"][:, 1]) and crops["student"].isfinite().all()
    assert same not in of_waves(wave_dir, "crops.teacher_frames=900 augment.prob=0").summary()
    stored = build_source(config.load(sets=long + "features.num_mel_bins=6 data.min_frames=20 features.cmn=none"), ark_dir[0], crops=True)
    assert f"{len(stored.labels)} are shorter than the longest crop, and repeated; {same}" in stored.summary()
    assert "a chunk of" not in stored.summary() and "a chunk of" not in of_waves(wave_dir, "augment.prob=0").summary()
