"""Training input: which chunks, in which order, from where."""


def build_source(conf, data_dir, musan_dir=None, rirs_dir=None, device="cpu", views=False, grouped=False,
                 crops=False):
    """The source that ``data.input`` names over ``data_dir``: ``FeatureChunks`` or ``WaveChunks``.

    views: for an objective that takes several views of each utterance, ``FeatureViews`` or ``WaveViews``; grouped: batches
    are of speakers x utterances; crops: for one that trains without labels, ``FeatureCrops`` or ``WaveCrops``.
    """
    if crops:
        from wespk.data.crops import FeatureCrops, WaveCrops

        if conf["data"]["input"] == "feats":
            return FeatureCrops(data_dir, conf)
        return WaveCrops(data_dir, conf, musan_dir, rirs_dir, device)
    if conf["data"]["input"] == "feats":
        from wespk.data.chunks import FeatureChunks
        from wespk.data.views import FeatureViews

        return (FeatureViews if views else FeatureChunks)(data_dir, conf)
    from wespk.data.views import WaveViews
    from wespk.data.waves import WaveChunks

    return (WaveViews if views else WaveChunks)(data_dir, conf, musan_dir, rirs_dir, device, grouped)
