"""The EMA teacher: what moves, what does not, and what is kept."""

import copy

import pytest
import torch
from torch import nn

from wespk.training.teacher import Teacher
from wespk.utils.errors import InputError


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Linear(6, 3))


def move(student, steps=1):
    """Steps of training: other weights, other batch-norm statistics."""
    for i in range(steps):
        student(torch.randn(8, 4, generator=torch.Generator().manual_seed(i)) + 3)
        with torch.no_grad():
            for p in student.parameters():
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))


def test_it_starts_as_a_copy_of_its_own():
    student = make()
    teacher, before = Teacher(student), copy.deepcopy(student.state_dict())
    move(student)
    for name, value in before.items():
        assert torch.equal(teacher.network.state_dict()[name], value)


def test_momentum_1_changes_nothing_and_0_takes_the_students_weights():
    student = make()
    teacher = Teacher(student)
    before = [p.clone() for p in teacher.parameters()]
    move(student)
    teacher.update(student, 1)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), before, strict=True))
    teacher.update(student, 0)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))


def test_several_steps_equal_the_average_by_hand():
    student = make()
    teacher = Teacher(student)
    by_hand = {n: p.detach().double() for n, p in student.named_parameters()}
    for step, momentum in enumerate((0.5, 0.9, 0.996, 0.2)):
        move(student, step + 1)
        teacher.update(student, momentum)
        for name, p in student.named_parameters():
            by_hand[name] = momentum * by_hand[name] + (1 - momentum) * p.detach().double()
    for name, p in teacher.network.named_parameters():
        torch.testing.assert_close(p.double(), by_hand[name], rtol=1e-6, atol=1e-6)


def test_batch_norm_statistics_are_the_teachers_own():
    student = make()
    teacher, x = Teacher(student), torch.randn(8, 4) - 2
    move(student, 3)
    teacher.update(student, 0)
    torch.testing.assert_close(teacher.network[1].running_mean, torch.zeros(6))
    teacher(x)  # in training mode: by its batch's statistics, and these are remembered
    torch.testing.assert_close(teacher.network[1].running_mean, 0.1 * teacher.network[0](x).mean(0))
    assert teacher.network[1].num_batches_tracked == 1 and teacher.network[1].training


def test_buffers_are_averaged_if_asked_for():
    student = make()
    teacher = Teacher(student, average_buffers=True)
    move(student, 3)
    mean = student[1].running_mean.clone()
    teacher.update(student, 0.75)
    torch.testing.assert_close(teacher.network[1].running_mean, 0.25 * mean)
    assert teacher.network[1].num_batches_tracked == 3


def test_no_gradient_reaches_it():
    student = make()
    teacher = Teacher(student)
    x = torch.randn(5, 4, requires_grad=True)
    assert not teacher(x).requires_grad and not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())


def test_its_state_dict_brings_everything_back():
    student = make()
    teacher, other = Teacher(student), Teacher(make())
    move(student, 2)
    teacher.update(student, 0.9)
    teacher(torch.randn(5, 4))
    other.load_state_dict(copy.deepcopy(teacher.state_dict()))
    for each in (teacher, other):
        each.update(student, 0.5)
        each(torch.ones(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(teacher.state_dict().values(), other.state_dict().values(), strict=True))


def test_other_students_and_momenta_are_refused():
    teacher = Teacher(make())
    with pytest.raises(InputError, match="momentum lies in .0, 1., not 1.5"):
        teacher.update(make(), 1.5)
    with pytest.raises(InputError, match="this one has other weights"):
        teacher.update(nn.Linear(4, 6), 0.5)
