"""The section "What the bias says" of a report: how far a loss's own log-likelihood ratios are from calibrated.

It is there when a system of ``metrics.json`` has an entry "log_odds", which ``wespk.scoring.bias`` makes.
"""

TITLE = "What the bias says"
OWN = ("training_prior", "equal_error_cosine", "points")  # what differs from list to list, or follows from the rest
MIDPOINT = "z, the midpoint of the logits that targets and others were trained on, has the right sign but claims too much"
LEAST_BIAS = 1.0  # a b nearer to a start at 0 has not been trained; balance points lie between 5 and 17
SHIFTED = "z, taken without it, is a log-odds only roughly"


def sections(results):
    """A list of (sentences before the table, header, rows, sentences after it), one for each trained bias."""
    groups = {}
    for trials in results["lists"]:
        for system in trials["systems"]:
            if "log_odds" in system:
                about = {name: value for name, value in system["log_odds"].items() if name not in OWN}
                groups.setdefault(str(about), []).append((trials["name"], system))
    return [(_before(found[0][1]), *_table(found), [_after(*entry) for entry in found]) for found in groups.values()]


def _begun(read):
    return f" (it began at {read['first_bias']:.4f})" if "first_bias" in read else ""


def _before(system):
    read = system["log_odds"]
    c0 = read["points"][0]["cosine"]
    lines = [
        (f"z = r g(c) + b with r = {read['scale']:g}, t = {read['t']:g} and b = {read['bias']:.4f}{_begun(read)} was trained "
         f"as the log-odds of a target, lam = {read['lam']:g}, among K = {read['num_classes']} classes, which is a prior "
         f"of {read['training_prior']:.3g}. c is the cosine of the embeddings as they are, no mean subtracted."),
        (f"z > 0, accept at that prior, {_at(c0, 'means c > {}', 'holds for no cosine')}. {system['name']} is z less the "
         "prior's log-odds: a natural-log likelihood ratio, if z were right."),
        ("It is not calibrated: training compares embeddings with weight vectors that were fitted to the speakers, a trial "
         "two embeddings of new ones, and these cosines are distributed otherwise. The gaps between actDCF and minDCF, Cllr "
         "and min-Cllr are what calibration on labelled trials would gain."),
    ]
    if read.get("first_bias") == 0 and abs(read["bias"]) < LEAST_BIAS:
        lines.append("b has hardly moved from 0, where it began: the training was too short for its learning rate to bring it to "
                     "where it belongs, so neither b nor the threshold means anything. Train longer, or with "
                     "loss.bias_init: balanced.")
    return lines + _on_margin(read)


def _on_margin(read):
    """A sentence, in a list, on what the margin does to z; none without margin. read: one of SphereFace2 or SphereSpeaker."""
    kind = read["margin_type"]
    if "margins" in read:
        margins = ", ".join(f"{name} {value:g}" for name, value in zip(("m1", "m2", "m3"), read["margins"]))
        return [f"With margins ({kind}, {margins} at the end), {SHIFTED}."] if read["margins"] != [1, 0, 0] else []
    if read["final_margin"] == (1 if kind == "M" else 0):
        return []
    return [f"With a margin (type {kind}, {read['final_margin']:g} at the end), {MIDPOINT if kind == 'C' else SHIFTED}."]


def _table(found):
    header = ["trials", "p_target", "accept from cosine", "P_miss %", "P_fa %", "actDCF", "minDCF"]
    rows = []
    for name, system in found:
        for i, point in enumerate(system["log_odds"]["points"]):
            prior = f"{point['p_target']:.3g}" + ("" if i else " (training)")
            rates = [f"{100 * point[kind]:.3f}" for kind in ("miss", "false_alarm")]
            costs = [f"{point[kind]:.4f}" for kind in ("act_dcf", "min_dcf")]
            rows.append([name, prior, _at(point["cosine"], "{}", "none"), *rates, *costs])
    return header, rows


def _at(cosine, form, never):
    return never if cosine is None else form.format(f"{cosine:.4f}")


def _after(name, system):
    metrics, equal = system["metrics"], system["log_odds"]["equal_error_cosine"]
    return (f"{name}: Cllr {metrics['cllr']['value']:.4f}, min-Cllr {metrics['min_cllr']['value']:.4f} bits; misses and "
            f"false alarms are equal at cosine {equal:.4f}.")
