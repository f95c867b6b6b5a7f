"""Stage 2, one job of several: audio of a data folder -> features (and VAD, and copies, by the configuration)."""

from wespk.utils.cli import main


def compute_fbank(data: str, out: str, job: int = 1, num_jobs: int = 1, config: str = "", overlay: str = "",
                  set: str = "", musan: str = "", rirs: str = "", copies: bool = False):
    """Compute the features of one job's share of a data folder: fbank or MFCC, as the section `features` says.

    Writes OUT/feats.JOB.{ark,scp}, OUT/utt2num_frames.JOB, with features.vad OUT/vad.JOB.{ark,scp}, with --copies the
    copies that the section `copies` asks for, and last OUT/job.JOB.json. merge_feats joins the jobs.

    Args:
        data: data folder with wav.scp (and segments, if any) and utt2spk
        out: folder for the arks, e.g. DATA/feats
        job: which job this is, from 1
        num_jobs: how many jobs share the work, at most one for each utterance
        config: YAML laid over wespk/conf/train.yaml
        overlay: YAML laid over that; several: separated by commas
        set: further options, "section.key=value section.key=value"
        musan: folder with noise.scp, music.scp, speech.scp (for copies with noise, music, babble)
        rirs: folder with rirs.scp (for copies with reverberation)
        copies: true to make copies as well
    """
    from wespk.utils import config as configuration

    conf = configuration.load(config, overlay, set)

    import torch

    from wespk.corpora.features import compute_job

    torch.set_num_threads(1)  # the jobs are the parallelism
    counts = compute_job(data, conf, out, job, num_jobs, musan, rirs, copies)
    print(f"job {job} of {num_jobs}: {counts['utterances']} utterances, {counts['hours']:.2f} hours, "
          f"{counts['frames']} frames, {counts['copies']} copies")


if __name__ == "__main__":
    main(compute_fbank)
