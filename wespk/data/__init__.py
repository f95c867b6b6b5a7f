"""Training input: which chunks, in which order, from where."""


def build_source(conf, data_dir, musan_dir=None, rirs_dir=None, device="cpu"):
    """The source that ``data.input`` names: ``FeatureChunks`` or ``WaveChunks`` over ``data_dir``."""
    if conf["data"]["input"] == "feats":
        from wespk.data.chunks import FeatureChunks

        return FeatureChunks(data_dir, conf)
    from wespk.data.waves import WaveChunks

    return WaveChunks(data_dir, conf, musan_dir, rirs_dir, device)
