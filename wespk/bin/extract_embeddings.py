"""Stage 4: embeddings of a data folder, by array jobs, and their merging."""

from wespk.utils.cli import main


def extract_embeddings(data: str, out: str, exp: str = "", checkpoint: str = "", input: str = "feats", job: int = 1,
                       num_jobs: int = 1, merge: bool = False, speaker_means: bool = False, device: str = "auto",
                       max_frames: int = 0, num_workers: int = 2, threads: int = 0, utt2spk: str = ""):
    """Embed the utterances of DATA into OUT/xvector.JOB.{ark,scp}, or, with --merge true, join the jobs' tables.

    How the work is split into jobs does not change the embeddings. GPUs are chosen by CUDA_VISIBLE_DEVICES; if several
    are visible, the jobs take turns.

    Args:
        data: data folder with feats.scp (stage 2), or with wav.scp and utt2dur for --input waves
        out: folder for the embeddings
        exp: experiment folder; its averaged checkpoint is used, or else its newest
        checkpoint: use this checkpoint file instead
        input: feats (the features of stage 2) or waves (compute them from wav.scp with the model's front end)
        job: which share to embed, 1..num_jobs
        num_jobs: number of shares
        merge: join OUT/xvector.1 .. xvector.NUM_JOBS into OUT/xvector.{ark,scp}, checked against DATA's utterances
        speaker_means: when merging, also write OUT/spk_xvector.{ark,scp}, the mean of each speaker of DATA/utt2spk
        device: auto (a GPU if there is one), cpu, cuda or cuda:N
        utt2spk: with --speaker-means, take the speakers from this table (it may list more) instead of DATA/utt2spk
        max_frames: frames computed at once, padding included; 0: suits the device
        num_workers: threads that read ahead; 0: none
        threads: CPU threads for computing; 0: torch's own choice
    """
    from wespk.embedding import jobs
    from wespk.utils.errors import InputError
    from wespk.utils.log import get_logger

    if input not in ("feats", "waves"):
        raise InputError(f"--input takes feats or waves, not '{input}'")
    for name, value, least in (("num-jobs", num_jobs, 1), ("num-workers", num_workers, 0), ("threads", threads, 0)):
        if value < least:
            raise InputError(f"--{name} must be {least} or more, not {value}")
    if speaker_means and not merge:
        raise InputError("--speaker-means true works on merged embeddings: give it together with --merge true")
    if utt2spk and not speaker_means:
        raise InputError("--utt2spk is read for --speaker-means true alone; leave it out")
    if merge:
        utterances, speakers = jobs.merge(data, out, num_jobs, speaker_means, utt2spk)
        also = f"; means of {speakers} speakers in {out}/spk_xvector.scp" if speakers else ""
        print(f"{utterances} embeddings of {num_jobs} job(s) in {out}/xvector.scp{also}")
        return
    if not (exp or checkpoint):
        raise InputError("name the model: --exp FOLDER, or --checkpoint FILE")

    import torch

    from wespk.embedding.loading import load_network, pick_device
    from wespk.embedding.sources import open_source

    if threads:
        torch.set_num_threads(threads)
    where = pick_device(device, job)
    network = load_network(checkpoint or exp, where)
    logger = get_logger()
    logger.info("model %s (step %d) on %s", network.path, network.step, where)
    source = open_source(data, network, input)
    done = jobs.extract_job(network, source, out, job, num_jobs, where, max_frames, num_workers, logger)
    print(f"job {job} of {num_jobs}: {done} of {len(source.keys)} utterances embedded into {out}/xvector.{job}.scp")


if __name__ == "__main__":
    main(extract_embeddings)
