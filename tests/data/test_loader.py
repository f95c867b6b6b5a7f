"""The way of a batch from a worker: whatever a source makes arrives as it was, in one piece of shared memory."""

import numpy as np
import pytest
import torch

from wespk.data.loader import stream
from wespk.data.sampler import EpochPlan
from wespk.utils.errors import InputError


class Source:
    """Tensors of several kinds and odd sizes, an empty one and a transposed one among them."""

    labels = np.arange(10) % 3

    def fetch(self, epoch, items):
        draw = np.random.default_rng(int(items[0]) + 100 * epoch)
        if 9 in items and epoch == 2:
            raise InputError("the ninth is damaged")
        return {"codes": torch.from_numpy(draw.integers(0, 256, (len(items), 7, 3), dtype=np.uint8)),
                "scale": torch.from_numpy(draw.normal(size=(5, 2)).astype(np.float32)).T,
                "none": torch.zeros(0, dtype=torch.int16), "one": torch.tensor(draw.random()),
                "deep": torch.from_numpy(draw.integers(0, 9, (2, 1, 3)))}, self.labels[items]  # fmt: skip


def batches(workers, epochs=2):
    plan = EpochPlan(10, 4, 1, 3)
    return list(stream(Source(), plan, 0, epochs * plan.steps_per_epoch, workers))


def test_batches_of_a_worker_are_those_made_here():
    pairs = list(zip(batches(0), batches(2), strict=True))
    assert len(pairs) == 6
    for here, there in pairs:
        assert list(here.inputs) == list(there.inputs) and (here.epoch, here.whole) == (there.epoch, there.whole)
        for a, b in [*zip(here.inputs.values(), there.inputs.values()), (here.items, there.items), (here.labels, there.labels)]:
            assert a.dtype == b.dtype and torch.equal(a, b)


def test_a_batch_of_a_worker_lies_in_one_piece_of_shared_memory():
    batch = batches(1)[0]
    tensors = [*batch.inputs.values(), batch.items, batch.labels]
    assert all(tensor.is_shared() for tensor in tensors)
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_wrong_with_the_data_is_told_in_the_sources_words(workers):
    with pytest.raises(InputError, match="^the ninth is damaged$"):
        batches(workers, epochs=3)
