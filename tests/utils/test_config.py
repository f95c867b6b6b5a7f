"""Configuration: merge order, schema, and errors that name the file and the nearest known option."""

import re

import pytest
import yaml

from wespk.utils import config
from wespk.utils.errors import InputError


@pytest.fixture
def conf_file(tmp_path):
    def write(text, name="conf.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path
    write.folder = tmp_path
    return write


def test_every_default_has_a_rule_and_obeys_it():
    defaults, rules = config.read_yaml(config.DEFAULTS), config.schema()
    leaves = {f"{s}.{k}" for s, v in defaults.items() if isinstance(v, dict) for k in v}
    leaves |= {s for s, v in defaults.items() if not isinstance(v, dict)}
    assert leaves == {k for k, rule in rules.items() if rule != "open"}
    assert config.load() == defaults


def test_every_option_says_what_it_means():
    for line in config.DEFAULTS.read_text().splitlines():
        if re.match(r"^\s+\w+:", line):
            assert re.search(r"\] \S", line), line


def test_later_sources_win(conf_file):
    base = conf_file("optimizer: {lr: 0.2, momentum: 0.8}\nseed: 1\n")
    over = conf_file("optimizer: {lr: 0.3}\n", "over.yaml")
    conf = config.load(base, over, "seed=3")
    assert (conf["optimizer"]["lr"], conf["optimizer"]["momentum"], conf["seed"]) == (0.3, 0.8, 3)


def test_several_overlays_are_laid_on_in_their_order(conf_file):
    first, second = conf_file("seed: 1\noptimizer: {lr: 0.3}\n", "1.yaml"), conf_file("seed: 2\n", "2.yaml")
    conf = config.load(None, f"{first},{second}")
    assert (conf["seed"], conf["optimizer"]["lr"]) == (2, 0.3)
    assert config.load(None, f"{second},{first}")["seed"] == 1


def test_a_file_for_certain_configurations_is_refused_by_others(conf_file):
    base = conf_file("loss: {name: sphereface2, margin_type: A}\n")
    conf_file("only_for: {loss: {name: sphereface2, margin_type: C}}\n", "c.yaml")
    over = conf_file("include: [c.yaml]\nonly_for: {loss: {name: sphereface2, margin_type: A}}\nseed: 5\n", "a.yaml")
    assert config.load(base, over)["seed"] == 5 and "only_for" not in config.load(base, over)
    with pytest.raises(InputError, match="c.yaml is made for loss.margin_type=C, but .* has A; .*made for that: a.yaml"):
        config.load(base, conf_file.folder / "c.yaml")
    conf_file("include: [a.yaml]\n", "also_a.yaml")
    conf_file("only_for: 3\n", "broken.yaml")
    with pytest.raises(InputError, match="made for that: a.yaml, also_a.yaml$"):
        config.load(base, conf_file.folder / "c.yaml")
    with pytest.raises(InputError, match="made for loss.name=sphereface2, but .* has aam_softmax"):
        config.load(over)
    for wrong, says in (("3", "only_for takes sections"), ("{seed: 3}", "only_for takes sections"),
                        ("{los: {name: x}}", "did you mean 'loss'")):
        with pytest.raises(InputError, match=says):
            config.load(conf_file(f"only_for: {wrong}\n", "wrong.yaml"))


def test_an_experiments_own_configuration_can_be_given(conf_file):
    resolved = config.load(sets="features.num_mel_bins=40 model.feat_dim=40 seed=7")
    whole = conf_file(yaml.safe_dump({**resolved, "derived": {"x": 1}, "provenance": {"git": "y"}}))
    conf = config.load(whole)
    assert "feat_dim" not in conf["model"]  # it follows from the features, which may be changed now
    assert config.difference(conf, resolved) == [("model.feat_dim", None, 40)]


def test_an_include_lies_below_the_file_that_names_it(conf_file):
    conf_file("model: {name: resnet18, embed_dim: 128}\n", "inc.yaml")
    conf = config.load(conf_file("include: [inc.yaml]\nmodel: {embed_dim: 64}\n"))
    assert conf["model"] == {"name": "resnet18", "embed_dim": 64}


def test_another_model_name_drops_the_options_of_the_first(conf_file):
    base = conf_file("model: {name: ecapa_tdnn, channels: 512}\n")
    over = conf_file("model: {name: resnet34}\n", "over.yaml")
    assert config.load(base, over)["model"] == {"name": "resnet34"}
    objective = conf_file("objective: {name: sdpn, prototypes: 8}\n", "objective.yaml")
    assert config.load(objective, sets="objective.name=dino")["objective"] == {"name": "dino"}
    assert config.load(objective, sets="objective.koleo=0")["objective"] == {"name": "sdpn", "prototypes": 8, "koleo": 0}


@pytest.mark.parametrize("text, says", [
    ("optimizer: {learning_rate: 0.1}", "conf.yaml: unknown option 'optimizer.learning_rate'"),
    ("optimiser: {lr: 0.1}", "did you mean 'optimizer'?"),
    ("train: {num_epoch: 3}", "did you mean 'num_epochs'?"),
    ("train: {num_epochs: 0}", "must be int > 0, not 0"),
    ("train: {num_epochs: 1.5}", "must be int > 0, not 1.5"),
    ("train: {bf16: 1}", "must be bool"),
    ("features: {type: plp}", "must be fbank|mfcc, not 'plp'"),
    ("features: {compress: 8}", "must be int 0..7"),
    ("features: {compress: 4}", "stores a fixed range"),
    ("copies: {kinds: [noise, hiss]}", "not 'hiss'"),
    ("copies: {kinds: noise}", "must be list of"),
    ("copies: {noise_snr: [15, 0]}", "takes [least, most]"),
    ("copies: {speeds: [1.0]}", "other than 1.0"),
    ("train: 3", "conf.yaml: section 'train' must hold"),
    ("train: {average: 5, keep: 3}", "train.keep (3) must be at least"),
    ("augment: {prob: 0.6}", "set data.input=waves"),
    ("data: {input: waves}\ncopies: {speeds: [0.9]}", "use the section 'augment'"),
    ("seed: 1\nseed: 2", "conf.yaml:2: key 'seed' is given twice"),
    ("train: {num_epochs: 3", "not valid YAML"),
    ("- a", "top level must be"),
    ("include: [nowhere.yaml]", "conf.yaml: include 'nowhere.yaml' is neither"),
    ("include: [conf.yaml]", "includes itself"),
    ("include: conf.yaml", "include takes a list"),
    ("schedule: {final_lr: 0}", "schedule.final_lr is 0"),
    ("optimizer: {momentum: 0}", "set optimizer.nesterov=false"),
    ("train: {num_epochs: 3}", "schedule.warmup_epochs (6) lies beyond train.num_epochs (3)"),
])
def test_a_wrong_file_is_refused_by_name(conf_file, text, says):
    path = conf_file(text)
    with pytest.raises(InputError) as error:
        config.load(path)
    assert says in str(error.value)


def test_scientific_notation_is_a_number(conf_file):
    conf = config.load(conf_file("optimizer: {lr: 1e-3}"), sets="schedule.final_lr=5e-05")
    assert (conf["optimizer"]["lr"], conf["schedule"]["final_lr"]) == (1e-3, 5e-5)


@pytest.mark.parametrize("sets, says", [
    ("train.epochs=3", "unknown option 'train.epochs'"),
    ("seed", "takes section.key=value, not 'seed'"),
    ("seed=x", "must be int"),
    ("model.name='x", "No closing quotation"),
    ("train=5 train.keep=3", "keep one"),
])
def test_a_wrong_set_word_is_refused(sets, says):
    with pytest.raises(InputError) as error:
        config.load(sets=sets)
    assert says in str(error.value)


def test_set_takes_lists_quoted_as_in_a_shell():
    conf = config.load(sets="'copies.speeds=[0.9, 1.1]' data.chunk_frames=300")
    assert (conf["copies"]["speeds"], conf["data"]["chunk_frames"]) == ([0.9, 1.1], 300)


def test_difference_names_each_changed_option():
    old, new = config.load(), config.load(sets="optimizer.lr=0.2 seed=7")
    assert config.difference(old, new) == [("optimizer.lr", 0.1, 0.2), ("seed", 42, 7)]


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no such configuration file: .*none.yaml"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="config.yaml does not exist: train the experiment first"):
        config.read_resolved(tmp_path)


def test_an_option_younger_than_the_experiment_has_its_default(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 7\nmodel: {name: xvector, hidden: 9}\nderived: {num_speakers: 3}\n")
    found = config.read_resolved(tmp_path)
    assert found["labels"] == {"noise": "none", "rate": 0.0, "seed": 0, "file": ""}
    assert (found["seed"], found["model"], found["derived"]) == (7, {"name": "xvector", "hidden": 9}, {"num_speakers": 3})


def test_a_resolved_configuration_reads_back_equal(tmp_path):
    conf = config.load()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(conf, sort_keys=False, default_flow_style=None, width=120))
    assert config.read_resolved(tmp_path) == conf
