"""What is found in VoxCeleb's trees as people have them, and what is refused."""

import shutil

import pytest

from wespk.corpora.registry import find_corpus
from wespk.corpora.voxceleb import PUBLISHED, VOX1_TEST_SPEAKERS, Tree, voxceleb
from wespk.utils.errors import InputError

DEV = [f"id{n}" for n in range(10001, 10007)]


def speakers(utterances):
    return sorted({u.speaker for u in utterances.values()})


@pytest.mark.parametrize(
    "dev, test",
    [
        ("dev/wav", "test/wav"),
        ("dev", "test"),
        ("wav/dev", "wav/test"),
        ("vox1_dev_wav/wav", "vox1_test_wav/wav"),
        ("VoxCeleb1/dev", "VoxCeleb1/test"),
        ("dev/flac", "test/flac"),
        ("wav", "wav"),
        (".", "."),
    ],
)
def test_every_arrangement_of_levels_gives_the_same_sets(corpus, tmp_path, dev, test):
    root = tmp_path / "arranged"
    for part, where in (("dev", dev), ("test", test)):
        for folder in (corpus / part / "wav").iterdir():
            shutil.copytree(folder, root / where / folder.name)
    shutil.copy(corpus / "veri_test.txt", root)
    found = voxceleb(voxceleb1=str(root))
    assert speakers(found.train) == DEV and len(found.train) == 24
    assert sorted(found.eval) == [
        "id20001--b_-bbbbbbb-00002",
        "id20001-aaaaaaaaaaa-00001",
        "id20002-aaaaaaaaaaa-00001",
        "id20003-aaaaaaaaaaa-00001",
    ]
    assert found.eval["id20001--b_-bbbbbbb-00002"].session == "-b_-bbbbbbb"


def test_without_levels_and_lists_the_forty_published_speakers_are_test(tmp_path, wav):
    for speaker in ("id10269", "id10270", "id10309", "id10310"):
        wav(tmp_path / speaker / "sessionname" / "00001.wav")
    found = voxceleb(voxceleb1=str(tmp_path), trials="none")
    assert speakers(found.train) == ["id10269", "id10310"]
    assert len(VOX1_TEST_SPEAKERS) == 40
    assert "2 of 4 speakers are test (published as VoxCeleb1 test)" in found.notes[0]


def test_voxceleb2_aac_joins_the_training_sets_asked_for(corpus, tmp_path):
    session = tmp_path / "vox2" / "dev" / "aac" / "id00012" / "21Uxsk56VDQ"
    session.mkdir(parents=True)
    (session / "00001.m4a").touch()
    (tmp_path / "vox2" / "dev" / "txt" / "id00099").mkdir(parents=True)  # its face tracks are not speakers
    roots = {"voxceleb1": str(corpus), "voxceleb2": str(tmp_path / "vox2")}
    assert speakers(voxceleb(**roots).train) == ["id00012", *DEV]
    assert speakers(voxceleb(**roots, train_sets="vox2_dev").train) == ["id00012"]
    assert speakers(voxceleb(**roots, train_sets="vox1_dev").train) == DEV


def test_hidden_files_and_other_files_are_not_utterances(corpus):
    session = corpus / "dev/wav/id10001/aaaaaaaaaaa"
    (session / "._00001.wav").touch()
    (session / "notes.txt").touch()
    assert len(Tree(corpus, "--voxceleb1").utterances) == 36


def refused(match, **options):
    with pytest.raises(InputError, match=match):
        voxceleb(**options)


def test_a_missing_root_is_named(tmp_path):
    refused("--voxceleb1 .*nowhere: no such folder", voxceleb1=str(tmp_path / "nowhere"))


def test_a_root_without_speakers_is_named_with_what_was_looked_for(tmp_path):
    (tmp_path / "veri_test.txt").write_text("1 id20001/a/1.wav id20001/b/1.wav\n")
    refused("no speaker folders .idNNNNN. there, nor below its levels", voxceleb1=str(tmp_path))


def test_no_root_at_all_is_refused():
    refused("needs --voxceleb1 or --voxceleb2")


def test_an_empty_speaker_is_named(corpus):
    (corpus / "dev/wav/id10044/xxxxxxxxxxx").mkdir(parents=True)
    refused("dev/wav/id10044: no .wav, .flac, .m4a file in 1 session folders", voxceleb1=str(corpus))


def test_unknown_and_rootless_training_sets_are_refused(corpus):
    refused("unknown set 'vox1dev' .did you mean 'vox1_dev'", voxceleb1=str(corpus), train_sets="vox1dev")
    refused("--train-sets vox2_dev needs --voxceleb2", voxceleb1=str(corpus), train_sets="vox1_dev,vox2_dev")


def test_one_utterance_in_two_formats_is_refused(corpus):
    (corpus / "dev/wav/id10001/aaaaaaaaaaa/00001.flac").touch()
    refused("id10001-aaaaaaaaaaa-00001 is there twice: .*00001.flac and .*00001.wav", voxceleb1=str(corpus))


def test_a_speaker_in_dev_and_test_is_refused(corpus, wav):
    wav(corpus / "test/wav/id10001/ccccccccccc/00001.wav")
    refused("speaker id10001 is also in the dev part", voxceleb1=str(corpus))


def test_a_test_speaker_among_voxceleb2_is_refused(corpus, tmp_path, wav):
    wav(tmp_path / "vox2/dev/id20001/ccccccccccc/00001.wav")
    refused("speaker id20001 is in the VoxCeleb1 root as well", voxceleb1=str(corpus), voxceleb2=str(tmp_path / "vox2"))


def test_a_tree_of_test_speakers_alone_gives_no_training_set(corpus):
    shutil.rmtree(corpus / "dev")
    refused("no training speakers for vox1_dev", voxceleb1=str(corpus))


def test_white_space_in_a_session_name_is_refused(corpus, wav):
    wav(corpus / "dev/wav/id10001/my session/00001.wav")
    refused("my session/00001.wav: white space", voxceleb1=str(corpus))


def test_a_list_of_training_speakers_is_left_out_or_refused_when_named(corpus):
    (corpus / "list_test_all2.txt").write_text(
        "1 id10001/aaaaaaaaaaa/00001.wav id10001/-b_-bbbbbbb/00002.wav\n"
        "0 id20001/aaaaaaaaaaa/00001.wav id20002/aaaaaaaaaaa/00001.wav\n"
    )
    found = voxceleb(voxceleb1=str(corpus))
    assert [item.name for item in found.trials] == ["veri_test"]
    assert found.notes == [
        f"left out list_test_all2 ({corpus}/list_test_all2.txt): 1 of its speakers are training speakers (id10001, ...)"
    ]
    both = "veri_test,list_test_all2"
    refused("list_test_all2 .*: 1 of its speakers are training", voxceleb1=str(corpus), trials=both)


def test_when_every_list_shares_training_speakers_the_command_stops(corpus):
    (corpus / "veri_test.txt").write_text("1 id10001/aaaaaaaaaaa/00001.wav id10001/-b_-bbbbbbb/00002.wav\n")
    refused("no trial list is left: left out veri_test", voxceleb1=str(corpus))


def test_a_trial_of_an_absent_file_is_named_with_its_line(corpus):
    with open(corpus / "veri_test.txt", "a") as file:
        file.write("1 id20003/aaaaaaaaaaa/00001.wav id20003/-b_-bbbbbbb/00009.wav\n")
    refused("veri_test.txt:4: no file id20003/-b_-bbbbbbb/00009 ", voxceleb1=str(corpus))


def test_a_nearly_complete_set_is_remarked_upon(corpus, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "vox1_dev", (6, 25))
    assert voxceleb(voxceleb1=str(corpus)).notes == ["vox1_dev: 6 speakers, 24 utterances; published are 6 and 25"]


def test_corpora_are_found_by_name_and_take_only_their_own_options(corpus):
    assert len(find_corpus("voxceleb", voxceleb1=str(corpus)).train) == 24
    with pytest.raises(InputError, match="unknown corpus 'voxcelebs' .did you mean 'voxceleb'"):
        find_corpus("voxcelebs")
    with pytest.raises(InputError, match="corpus 'voxceleb' has no option 'cnceleb'"):
        find_corpus("voxceleb", cnceleb="x")


def test_the_utterances_of_averaged_enrolments_are_kept_and_missed(corpus):
    (corpus / "mine.map").write_text("model id20001/-b_-bbbbbbb/00002.wav\n")
    (corpus / "mine.txt").write_text("1 model id20001/aaaaaaaaaaa/00001.wav\n0 model id20003/aaaaaaaaaaa/00001.wav\n")
    found = voxceleb(voxceleb1=str(corpus), trials=str(corpus / "mine.txt"))
    assert sorted(found.eval) == ["id20001--b_-bbbbbbb-00002", "id20001-aaaaaaaaaaa-00001", "id20003-aaaaaaaaaaa-00001"]
    assert speakers(found.train) == DEV
    (corpus / "mine.map").write_text("model id20001/-b_-bbbbbbb/00002.wav id20001/other/00002.wav\n")
    refused("mine.txt:1: no file id20001/other/00002", voxceleb1=str(corpus), trials=str(corpus / "mine.txt"))
