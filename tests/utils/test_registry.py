"""Registries refuse what a plain call would take silently."""

import pytest

from wespk.utils.errors import InputError
from wespk.utils.registry import Registry


@pytest.fixture
def table():
    registry = Registry("thing")

    @registry.register("big", size=9)
    @registry.register("free")
    def make(size=1, colour="red", *, dim):
        return size, colour, dim

    return registry


def test_fixed_given_and_configured_options_meet(table):
    assert table.build({"name": "big", "colour": "blue"}, dim=4) == (9, "blue", 4)
    assert table.build({"name": "free", "size": 2}, dim=4) == (2, "red", 4)


@pytest.mark.parametrize("conf, says", [
    ({"name": "bigg"}, "unknown thing 'bigg' (did you mean 'big'?); known: big, free"),
    ({}, "unknown thing 'None'"),
    ({"name": "free", "sise": 2}, "no option 'sise' (did you mean 'size'?)"),
    ({"name": "big", "size": 2}, "no option 'size'"),
    ({"name": "free", "dim": 2}, "no option 'dim'"),
])
def test_unknown_names_and_options_are_refused(table, conf, says):
    with pytest.raises(InputError) as error:
        table.build(conf, dim=4)
    assert says in str(error.value)


def test_a_missing_option_is_named(table):
    with pytest.raises(InputError, match="needs the option 'dim'"):
        table.build({"name": "free"})


def test_a_name_is_registered_once(table):
    with pytest.raises(KeyError):
        table.register("big")
