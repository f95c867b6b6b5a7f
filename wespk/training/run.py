"""From a configuration and data folders to a finished training run."""

import shlex
import sys

import torch

from wespk.data import build_source
from wespk.data.labels import noise_name
from wespk.data.views import plan_views
from wespk.features.front_end import FrontEnd
from wespk.training import checkpoint
from wespk.training.balance import check_used
from wespk.training.experiment import Experiment
from wespk.training.initial import InitialWeights
from wespk.training.objectives import METHOD_SECTIONS, build_objective
from wespk.training.optimizers import build_optimizer, unused_options
from wespk.training.selection import check_figures, check_selection
from wespk.training.sharded_head import check_shardable
from wespk.training.trainer import Trainer
from wespk.training.validation import validation
from wespk.utils import config, dist
from wespk.utils.errors import InputError
from wespk.utils.log import get_logger
from wespk.utils.memory import keep_freed_memory
from wespk.utils.seed import seed_everything


def pick_device(name):
    """torch device for "auto" (the GPU if there is one), "cpu" or "cuda"; on cuda, the one of this local rank."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise InputError(f"the device is auto, cpu or cuda, not '{name}'")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("cuda was asked for, but torch sees no GPU here; use --device cpu, or check the driver")
    return torch.device(name)


def fit_model_to_features(conf):
    """Put the features' dimension into ``conf["model"]``. Raises ``InputError`` if it says another one already."""
    dim = FrontEnd(conf["features"]).feat_dim
    if conf["model"].setdefault("feat_dim", dim) != dim:
        raise InputError(f"model.feat_dim is {conf['model']['feat_dim']}, but the section 'features' gives {dim} "
                         "coefficients a frame; leave model.feat_dim out")


def check_model(conf, num_classes=1_000_000):
    """Build network, loss and objective once, so that a misspelt option is an error before anything is computed.

    num_classes: where the real number is not known yet, one that no option of a loss is too big for (it costs no memory).
    """
    fit_model_to_features(conf)
    with torch.device("meta"):
        objective = build_objective(conf, num_classes)
    check_used(conf, objective)
    if "views" in objective.sections:
        plan_views(conf)
    build_optimizer(objective, conf["optimizer"])
    if "crops" in objective.sections and conf["labels"]["file"]:
        raise InputError(f"labels.file={conf['labels']['file']} would do nothing: objective.name={conf['objective']['name']} "
                         "trains without labels; take a supervised configuration, or leave it out")
    if conf["runtime"]["shard_head"]:
        check_shardable(conf, objective.loss)
    check_selection(conf)
    end, epochs = conf["margin"]["end_epoch"], conf["train"]["num_epochs"]
    if objective.has_margin and end > epochs:
        raise InputError(f"margin.end_epoch ({end:g}) lies beyond train.num_epochs ({epochs}): the margin would never be "
                         "reached; set margin.start_epoch and margin.end_epoch for this length of training, or leave "
                         "train.num_epochs alone and give run.sh --epochs (for the rounds of pseudo-labels --pl-epochs), which "
                         "fits all schedules")
    return objective


def train(conf, exp, train_data, dev_data, device="auto", musan=None, rirs=None):
    """Train the experiment ``conf`` in folder ``exp`` on the data folder ``train_data``.

    dev_data: folder with held-out speakers, or None for no EER of them; musan, rirs: folders of stage 1 for
    ``data.input: waves``. Resumes by itself. Returns True when the last epoch is done, False when a signal stopped it;
    with several processes ``dist.leave`` is to be called then.
    """
    device = pick_device(device)
    _, world, local = dist.init(device.type)
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    try:
        return _train(conf, exp, train_data, dev_data, device, musan, rirs, world)
    except BaseException as error:
        dist.abandon(error)
        raise


def _train(conf, exp, train_data, dev_data, device, musan, rirs, world):
    planned = check_model(conf)
    experiment = Experiment(exp)
    source = build_source(conf, train_data, musan, rirs, device, "views" in planned.sections,
                          bool(planned.utterances), "crops" in planned.sections)
    num_speakers, resumed = len(source.speakers), dist.from_main(checkpoint.newest(experiment.checkpoints))
    initial = InitialWeights(conf, experiment.folder, source.speakers, resumed)
    source.speakers = initial.classes  # labels are positions in it; it may have classes behind that no utterance has
    seed_everything(conf["seed"], "init")
    objective = build_objective(conf, len(source.speakers))
    report = initial.load(objective)
    parameters = sum(p.numel() for p in objective.model.parameters())
    derived = {"num_speakers": num_speakers, "num_utterances": len(source.labels), "parameters": parameters,
               "train_data": str(train_data), "processes": world, "device": device.type}
    if source.relabelled:
        derived["num_relabelled"] = source.relabelled
    if len(source.speakers) > num_speakers:
        derived["num_classes"] = len(source.speakers)
    if initial.digest:
        derived["init_from"] = initial.digest
    logger = get_logger()
    validate = validation(dev_data, train_data, conf, device, planned.model, "crops" not in planned.sections)
    check_figures(conf, validate)
    trainer = Trainer(conf, experiment, source, objective, device, logger, validate)
    notes = dist.from_main(_begin(experiment, conf, derived, trainer.fingerprint) if dist.is_main() else None)
    for note in notes:
        logger.warning("going on with a run begun otherwise: %s", note)
    for line in report:
        logger.info("%s", line)
    if dist.is_main():
        _announce(logger, conf, source, trainer, derived)
        experiment.requeue.unlink(missing_ok=True)
    if device.type == "cpu":
        keep_freed_memory()
    return trainer.run()


def _begin(experiment, conf, derived, fingerprint):
    notes = experiment.begin(conf, derived, fingerprint)
    get_logger(experiment.log).info("===== started as: %s; revision %s =====", shlex.join(sys.orig_argv), config.revision())
    return notes


def set_in_vain(conf, objective):
    """The options of method sections that somebody has set, though ``objective`` does not read them.

    The name "none" is no such option: whoever says that there is no loss says what is so.
    """
    defaults, unread = config.load(), [section for section in METHOD_SECTIONS if section not in objective.sections]
    return [f"{section}.{key}" for section in unread for key, value in conf[section].items()
            if value != defaults[section].get(key) and (key, value) != ("name", "none")]


def _announce(logger, conf, source, trainer, derived):
    whose = f"of {derived['num_speakers']} speakers" if source.speakers else "without labels"
    logger.info("%d utterances %s (%s); %s", len(source.labels), whose, source.summary(),
                f"{trainer.steps_per_epoch} steps an epoch, {trainer.total_steps} in all")
    if 2 * source.shorter > len(source.keys):
        logger.warning("%d of %d utterances are shorter than data.chunk_frames=%d and are repeated to fill it: longer chunks "
                       "than these cost time and teach nothing more; lower data.chunk_frames", source.shorter,
                       len(source.keys), conf["data"]["chunk_frames"])  # fmt: skip
    if conf["labels"]["file"]:
        logger.info("the labels are those of %s, not the data's own", conf["labels"]["file"])
    if source.relabelled:
        logger.info("labels %s: %d of these utterances bear another speaker's label, on purpose", noise_name(conf["labels"]),
                    source.relabelled)
    logger.info("%s: %.2f M parameters; %s; %d process(es) on %s", conf["model"]["name"],
                derived["parameters"] / 1e6, trainer.objective.summary(), derived["processes"], derived["device"])
    logger.info("learning rate %g -> %g for steps by the mean gradient of a whole batch of %d, in %d process(es) x %d "
                "micro-batch(es); used as given: not rescaled by any of these", conf["optimizer"]["lr"],
                conf["optimizer"]["lr"] if conf["schedule"]["name"] == "constant" else conf["schedule"]["final_lr"],
                conf["train"]["batch_size"], derived["processes"], conf["train"]["accumulate"])
    astray = set_in_vain(conf, trainer.objective)
    if astray:
        logger.warning("without effect under objective.name=%s, though set: %s", conf["objective"]["name"], ", ".join(astray))
    for remark in trainer.objective.remarks(len(source.labels)):
        logger.warning("%s", remark)
    logger.info("options without effect in this run: %s", ", ".join(unused_options(conf, trainer.objective)) or "none")
