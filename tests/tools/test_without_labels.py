"""Stages 3 to 7 of recipes without labels where nobody knows who speaks in the training set; entry points are fakes."""

from tests.tools.test_pseudo_labels import Rounds


def test_training_and_what_follows_need_no_speakers_of_the_training_set(tmp_path):
    recipe = Rounds(tmp_path / "recipe")
    recipe.run("--stop-stage", 2, "--exp", recipe.exp)
    (recipe.data / "train" / "utt2spk").unlink()
    recipe.run("--stage", 3, "--exp", recipe.exp)
    merges = [call for call in recipe.calls_of("extract_embeddings") if "--merge true" in call]
    assert len(merges) == 2 and not any("--speaker-means" in call for call in merges)
    assert recipe.calls_of("compute_metrics") and not any("train/utt2spk" in call for call in recipe.calls_of("score_norm"))
