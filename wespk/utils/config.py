"""Experiment configuration: plain YAML, merged in one direction, checked against ``wespk/conf/train.yaml``.

    train.yaml <- includes <- recipe conf <- overlays <- ``section.key=value`` words

``train.yaml`` is at once the defaults, the documentation and the schema: the bracket behind each value states its
type, choices and range.
"""

import copy
import math
import re
import shlex
import subprocess
from importlib import metadata
from pathlib import Path

import yaml

from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = ROOT / "conf" / "train.yaml"
RESOLVED = ("derived", "provenance")  # sections that training adds to an experiment's config.yaml
ONLY_FOR = "only_for"
_ENTRY = re.compile(r"^( *)([A-Za-z_]\w*):[^#]*#\s*\[([^\]]+)\]\s*(.*)$")
_NUMBER = {"int": int, "float": (int, float)}


class _Loader(yaml.SafeLoader):
    """Safe YAML with two surprises removed: ``1e-3`` is a number, and a key given twice is an error."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise InputError(f"{self.name}:{key_node.start_mark.line + 1}: key '{key}' is given twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|nan))$"),
    list("-+0123456789."),
)


def _parse(text, name):
    loader = _Loader(text)
    loader.name = str(name)
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {error}") from None
    finally:
        loader.dispose()


def read_yaml(path):
    """Read a YAML file whose top level is a mapping. Raises ``InputError`` naming the file (and line)."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"no such configuration file: {path}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None
    data = _parse(text, path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(f"{path}: the top level must be 'key: value' lines")
    return data


def schema(defaults=DEFAULTS):
    """The brackets of ``train.yaml``: {"section.key": "bracket text"}; sections marked ``open`` are listed as such."""
    rules, section = {}, None
    for line in Path(defaults).read_text(encoding="utf-8").splitlines():
        match = _ENTRY.match(line)
        top = re.match(r"^([a-z_]\w*):", line)
        if top:
            section = top.group(1)
        if match:
            indent, key, rule, _ = match.groups()
            rules[f"{section}.{key}" if indent else key] = rule
    return rules


def _check_value(where, value, rule):
    def refuse():
        raise InputError(f"{where}: '{where.rsplit(' ', 1)[-1]}' must be {rule}, not {value!r}")

    if rule.startswith("list of "):
        if not isinstance(value, list):
            refuse()
        for item in value:
            _check_value(where, item, rule[len("list of "):])
        return
    if rule == "bool":
        if not isinstance(value, bool):
            refuse()
    elif rule == "str":
        if not isinstance(value, str):
            refuse()
    elif rule.split()[0] in _NUMBER:
        kind, *limit = rule.split()
        if isinstance(value, bool) or not isinstance(value, _NUMBER[kind]) or math.isnan(value):
            refuse()
        if limit and ".." in limit[0]:
            low, high = (float(x) for x in limit[0].split(".."))
            if not low <= value <= high:
                refuse()
        elif limit:
            operator, bound = limit[0], float(limit[1])
            if not (value > bound if operator == ">" else value >= bound):
                refuse()
    elif value not in rule.split("|"):
        refuse()


def _check(conf, rules, source):
    """Raise ``InputError`` for a key or value of ``conf`` that the schema does not know."""
    sections = {key.split(".")[0] for key in rules if "." in key}
    for key, value in conf.items():
        if key in sections:
            if not isinstance(value, dict):
                raise InputError(f"{source}: section '{key}' must hold 'key: value' lines, not {value!r}")
            known = [k.split(".", 1)[1] for k in rules if k.startswith(f"{key}.")]
            for name, item in value.items():
                rule = rules.get(f"{key}.{name}")
                if rule is None and rules.get(key) == "open":
                    continue
                if rule is None:
                    raise InputError(f"{source}: unknown option '{key}.{name}'{nearest(name, known)}; "
                                     f"'{key}' takes: {', '.join(known)}")
                _check_value(f"{source}: {key}.{name}", item, rule)
        elif key in rules:
            _check_value(f"{source}: {key}", value, rules[key])
        else:
            raise InputError(f"{source}: unknown option '{key}'{nearest(key, sections | set(rules))}")


def merge(base, over):
    """``base`` with ``over`` laid on it, section by section; neither is changed.

    A section that names another model, loss or objective than ``base`` starts afresh: the old one's options would not fit.
    """
    merged = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            renamed = "name" in value and key in ("model", "loss", "objective", "contrast") and value["name"] != merged[key].get("name")
            merged[key] = copy.deepcopy(value) if renamed else {**merged[key], **copy.deepcopy(value)}
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _read_with_includes(path, rules, seen=()):
    path = Path(path)
    if path.resolve() in seen:
        raise InputError(f"{path}: includes itself")
    conf = read_yaml(path)
    merged = {}
    if conf.keys() & set(RESOLVED):  # what training wrote; the model's input size followed from the features
        conf.get("model", {}).pop("feat_dim", None)
    for section in RESOLVED:
        conf.pop(section, None)
    included = conf.pop("include", [])
    if not isinstance(included, list):
        raise InputError(f"{path}: include takes a list, such as [model/resnet34.yaml], not {included!r}")
    for name in included:
        found = next((p for p in (path.parent / name, ROOT / "conf" / name) if p.is_file()), None)
        if found is None:
            raise InputError(f"{path}: include '{name}' is neither beside this file nor under {ROOT / 'conf'}")
        merged = merge(merged, _read_with_includes(found, rules, (*seen, path.resolve())))
    only_for = conf.get(ONLY_FOR, {})
    if not isinstance(only_for, dict) or not all(isinstance(options, dict) for options in only_for.values()):
        raise InputError(f"{path}: {ONLY_FOR} takes sections, such as {{loss: {{name: aam_softmax}}}}, not {only_for!r}")
    _check(only_for, rules, path)
    _check({key: value for key, value in conf.items() if key != ONLY_FOR}, rules, path)
    return merge(merged, conf)


def _misfits(only_for, conf):
    """[(option, value wanted, value in ``conf``), ...] where ``conf`` is not what a file with ``only_for`` is made for."""
    return [(f"{section}.{name}", wanted, conf.get(section, {}).get(name)) for section, options in only_for.items()
            for name, wanted in options.items() if conf.get(section, {}).get(name) != wanted]


def _made_for(path, rules):
    """What a file, its includes counted in, is made for: {} for all, or where it cannot be read."""
    try:
        return _read_with_includes(path, rules).get(ONLY_FOR, {})
    except InputError:
        return {}


def _check_fits(path, only_for, conf, rules):
    """Raise ``InputError``, naming files beside it that do, if the file ``path`` does not fit ``conf`` below it."""
    misfits = _misfits(only_for, conf)
    if misfits:
        name, wanted, found = misfits[0]
        candidates = {p.name: _made_for(p, rules) for p in sorted(Path(path).parent.glob("*.yaml"))}
        fitting = [p for p, asked in candidates.items() if asked and not _misfits(asked, conf)]
        raise InputError(f"{path} is made for {name}={wanted}, but what it is laid over has "
                         f"{'none' if found is None else found}; beside it, made for that: {', '.join(fitting) or 'none'}")


def parse_sets(text):
    """``"a.b=1 c.d=[0.9, 1.1]"`` -> nested dict. Values are YAML; quote those with spaces as a shell would."""
    conf = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--set {text!r}: {error}; quote it as a shell would") from None
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"--set takes section.key=value, not '{word}'")
        node = conf
        *sections, name = key.split(".")
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise InputError(f"--set gives '{section}' a value and '{key}' as well; keep one")
        node[name] = _parse(value, f"--set {key}")
    return conf


def _check_across(conf):
    """Rules that tie two options together."""
    for section in ("copies", "augment"):
        for key, pair in conf[section].items():
            is_range = key.endswith("_snr") or key == "babble_speakers"
            if is_range and (len(pair) != 2 or pair[0] > pair[1]):
                raise InputError(f"{section}.{key} takes [least, most], not {pair}")
        if 1.0 in conf[section]["speeds"] or len(set(conf[section]["speeds"])) != len(conf[section]["speeds"]):
            raise InputError(f"{section}.speeds lists factors other than 1.0, each once, not {conf[section]['speeds']}")
    if conf["train"]["accumulate"] > conf["train"]["batch_size"]:
        raise InputError(f"train.accumulate ({conf['train']['accumulate']}) is above train.batch_size "
                         f"({conf['train']['batch_size']}): a micro-batch would be empty")
    if conf["train"]["keep"] < conf["train"]["average"]:
        raise InputError(f"train.keep ({conf['train']['keep']}) must be at least train.average "
                         f"({conf['train']['average']}), or stage 4 has too few checkpoints")
    if conf["features"]["compress"] in (4, 6, 7):
        raise InputError(f"features.compress={conf['features']['compress']} stores a fixed range of values that features "
                         "leave; take 2 (a byte a value), 3 (two bytes), 5 (a byte, one scale) or 0 (plain float32)")
    if conf["schedule"]["name"] == "exponential" and conf["schedule"]["final_lr"] == 0:
        raise InputError("schedule.final_lr is 0, which an exponential schedule reaches at its second step; give a small "
                         "positive one, or schedule.name=cosine")
    if conf["optimizer"]["name"] == "sgd" and conf["optimizer"]["nesterov"] and conf["optimizer"]["momentum"] == 0:
        raise InputError("optimizer.nesterov needs a momentum: set optimizer.nesterov=false with optimizer.momentum=0")
    if conf["train"]["extra_classes"] == "keep" and conf["train"]["init_head"] == "none":
        raise InputError("train.extra_classes=keep is about the classification head, which train.init_head=none leaves out: "
                         "set train.init_head=by_name or train.extra_classes=drop")
    if conf["schedule"]["warmup_epochs"] > conf["train"]["num_epochs"]:
        raise InputError(f"schedule.warmup_epochs ({conf['schedule']['warmup_epochs']:g}) lies beyond train.num_epochs "
                         f"({conf['train']['num_epochs']}): the learning rate would never be reached; "
                         "shorten it too, or leave train.num_epochs alone and give run.sh --epochs (for the rounds of "
                         "pseudo-labels --pl-epochs), which fits all schedules")
    if conf["margin"]["end_epoch"] < conf["margin"]["start_epoch"]:
        raise InputError("margin.end_epoch lies before margin.start_epoch")
    if (conf["labels"]["noise"] == "none") != (conf["labels"]["rate"] == 0):
        raise InputError(f"labels.noise={conf['labels']['noise']} with labels.rate={conf['labels']['rate']:g} is half a wish: "
                         "give a kind of noise and a rate above 0, or labels.noise=none labels.rate=0")
    if conf["labels"]["file"] and conf["labels"]["noise"] != "none":
        raise InputError(f"labels.file={conf['labels']['file']} gives the labels, and labels.noise={conf['labels']['noise']} "
                         "wrong ones in place of the data's own: keep one of them")
    if conf["data"]["input"] == "feats" and (conf["augment"]["speeds"] or conf["augment"]["prob"] > 0):
        raise InputError("augment.speeds and augment.prob work on waveforms: set data.input=waves, "
                         "or use the section 'copies' to make copies in stage 2")
    if conf["data"]["input"] == "waves" and (conf["copies"]["speeds"] or conf["copies"]["kinds"]):
        raise InputError("copies are made for data.input=feats; with data.input=waves use the section 'augment'")
    if conf["data"]["input"] == "waves" and conf["features"]["vad"]:
        raise InputError("features.vad drops frames of stored features and cannot be used with data.input=waves")


def load(config=None, overlay=None, sets=""):
    """Merge and check a configuration; returns a nested dict of plain values.

    config: path to a YAML file or None, an experiment's own config.yaml too; overlay: the same, or several separated by
    commas, laid on in this order; sets: ``"section.key=value ..."``. Raises ``InputError`` naming the file and the
    nearest known option for an unknown key, and the rule for a value of the wrong type or out of range.

    A file that makes sense on certain configurations alone says so: ``only_for: {loss: {name: aam_softmax}}``.
    """
    return _lay_over(read_yaml(DEFAULTS), (config, *_paths(overlay)), sets)


def load_other(defaults, path, sets=""):
    """The options of YAML file ``path`` and of ``sets`` over those of ``defaults``, a file with brackets like train.yaml.

    For what is not an experiment's configuration. Raises ``InputError`` as ``load`` does.
    """
    rules, given = schema(defaults), parse_sets(sets)
    conf = merge(read_yaml(defaults), _read_with_includes(path, rules))
    if ONLY_FOR in conf:
        raise InputError(f"{path}: {ONLY_FOR} is for overlays of a training's configuration")
    _check(given, rules, "--set")
    return merge(conf, given)


def lay_over(base, overlay, sets=""):
    """``overlay`` and ``sets``, as in ``load``, over the merged configuration ``base``, which stays as it is: a new dict."""
    return _lay_over(base, _paths(overlay), sets)


def _paths(overlay):
    return str(overlay).split(",") if overlay else ()


def _lay_over(conf, paths, sets):
    rules = schema()
    for path in paths:
        if path:
            over = _read_with_includes(path, rules)
            _check_fits(path, over.pop(ONLY_FOR, {}), conf, rules)
            conf = merge(conf, over)
    given = parse_sets(sets)
    _check(given, rules, "--set")
    conf = merge(conf, given)
    _check_across(conf)
    return conf


def difference(old, new, prefix=""):
    """The options in which two configurations differ: list of (name, old value, new value)."""
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += difference(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((prefix + key, a, b))
    return found


def revision():
    """The git revision of this code, with "-dirty" where it was changed since; "unknown" outside a repository."""
    try:
        run = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT,
                             capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return run.stdout.strip() if run.returncode == 0 else "unknown"


def provenance():
    """Git revision and the versions of the packages that figures depend on."""
    versions = {}
    for package in ("torch", "torchaudio", "numpy", "scipy", "soundfile", "kaldiio"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"git": revision(), "packages": versions}


def read_resolved(exp_dir):
    """Read ``exp_dir/config.yaml`` as training wrote it. Raises ``InputError`` if there is none.

    An option that has come into being since has its default: the experiment behaved so.
    """
    path = Path(exp_dir) / "config.yaml"
    if not path.is_file():
        raise InputError(f"{path} does not exist: train the experiment first (stage 3), or name its folder with --exp")
    return merge(read_yaml(DEFAULTS), read_yaml(path))
