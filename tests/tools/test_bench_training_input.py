"""The benchmark of training input runs, on sizes that mean nothing: both sides agree, and each has its row."""

import sys
from pathlib import Path

import pytest
import torch

from wespk.utils.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import training_input

NO_PROC = not Path("/proc/self/clear_refs").exists()
SIZES = {"frames": "30,50", "chunks": 4, "batch": 2, "utterances": 8, "rounds": 1}


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(NO_PROC, reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("kind", ["feats", "waves"])
def test_every_size_has_a_row_for_every_side_and_the_middle_one_its_rates(one_thread, capsys, monkeypatch, kind):
    monkeypatch.setattr("made_up.NOISES", 7)  # as many as the most talkers of a babble
    monkeypatch.setattr("made_up.RESPONSES", 3)
    training_input.bench(input=kind, **SIZES)
    _, *rows, last = [line.split() for line in capsys.readouterr().out.splitlines()]
    sides = ["other", "fetch", "worker", "finish", "all"]
    assert [row[:2] for row in rows] == [[size, side] for size in ("30", "50") for side in sides]
    assert " ".join(last).startswith("50 frames, chunks a second of CPU time: other ")


def test_a_source_whose_chunks_depend_on_their_company_is_told(one_thread, tmp_path):
    class Source:
        labels = torch.zeros(4, dtype=torch.int64).numpy()

        def fetch(self, epoch, items):
            return {"number": torch.tensor(len(items))}, self.labels[items]

        def finish(self, batch, device):
            return batch.inputs["number"].float().expand(len(batch.items), 30, 80)

    with pytest.raises(InputError, match="not a function of seed, epoch and utterance"):
        training_input.check(Source(), 30)
