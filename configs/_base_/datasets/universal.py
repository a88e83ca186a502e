# All ten damages and pictures without any, from the folders under DTIR_DATA that are for training: real and published
# pairs (train_pairs/) beside wide synthetic damage of clean photographs (clean/), and drawn pages and diagrams. Every
# n-th pair of the sets that others than the tests are few of is held out (held_every), to see that a restorer does no
# harm there.
# In a share of the samples another damage joins in. The target is the clean picture whichever of the two is named, so
# that one pass removes what it can of both, and a further one the rest.
_cache = dict(cache_mb=1024)
_share = 0.2

_noise = dict(degradation="GaussianNoise", severity=(0.03, 0.3))
_grain = dict(degradation="CameraNoise", severity=(0.05, 0.5))
_jpeg = dict(degradation="CameraJPEG", severity=(0.0, 0.8))
_rain_layers = ["train_pairs/rainy", "train_pairs/rainy-heavy2", "train_pairs/rainy-mixed"]
_light_rain_layers = ["train_pairs/rainy-light", "train_pairs/rainy-light2"]
_any_rain = dict(type="RecordedRain", data_root=_light_rain_layers + _rain_layers, **_cache)
_rain = dict(degradation=_any_rain, severity=(0.3, 0.6))
_streaks = dict(degradation="RainStreaks", severity=(0.1, 0.8))
_haze = dict(degradation="Haze", severity=(0.1, 0.8))


def _clean(main, severity, share=_share, data_root="clean", **others):
    degradation = dict(type="Compound", main=main, share=share, **others)
    return dict(
        type="SyntheticDataset",
        data_root=data_root,
        recursive=True,
        degradation=degradation,
        severity=severity,
        **_cache,
    )


def _drawn(degradation, severity, draw="DrawPicture"):
    return dict(type="DrawnDataset", degradation=degradation, severity=severity, draw=draw)


def _pairs(folder, *after, share=_share, turned="RandomFlipRotate", before=(), **options):
    again = dict(type="Compound", main="NoDamage", after=list(after), share=share)
    pipeline = [
        dict(type="LoadPair", **_cache),
        dict(type="RandomCropPair", patch=128),
        *before,
        dict(type=turned),
        dict(type="DegradeAgain", degradation=again),
        dict(type="PackPair"),
    ]
    return dict(type="PairedDataset", data_root=f"train_pairs/{folder}", pipeline=pipeline, **options)


def _recorded_rain(layers):
    return dict(type="RecordedRain", data_root=layers, **_cache)


# By task: share of its samples, and where they come from.
_sources = {
    "motion-blurry": [
        (0.50, _clean("VideoBlur", (0.05, 1.0), after=[_noise, _jpeg])),
        (0.35, _clean("SceneBlur", (0.05, 1.0), after=[_noise, _jpeg])),
        (0.15, _clean("MotionBlur", (0.1, 1.0))),
    ],
    "hazy": [
        (0.30, _pairs("hazy", _noise, _jpeg, _rain)),
        (0.30, _pairs("hazy2", _noise, _jpeg, _rain)),
        (0.05, _pairs("hazy-outdoor", held_every=4)),
        (0.35, _clean("Haze", (0.0, 1.0), after=[_noise, _jpeg, _rain])),
    ],
    "jpeg-compressed": [
        (0.65, _clean("CameraJPEG", (0.0, 1.0), before=[_noise, _grain])),
        (0.35, _clean("JPEGCompression", (0.3, 0.6), before=[_noise])),
        (0.05, _drawn("CameraJPEG", (0.0, 1.0))),
    ],
    "low-light": [
        (0.27, _pairs("low-light", _noise, _jpeg)),
        (0.33, _pairs("low-light2", _noise, _jpeg)),
        (0.08, _pairs("low-light-fivek", held_every=4)),
        (0.22, _clean("UnderExposure", (0.0, 1.0), after=[_noise, _grain, _jpeg])),
        (0.10, _clean("LowLight", (0.0, 0.8), after=[_noise, _jpeg])),
    ],
    "noisy": [
        (0.35, _clean("GaussianNoise", (0.05, 0.6), after=[_jpeg])),
        (0.30, _clean("GaussianNoise", (0.45, 0.55), share=0.0)),
        (0.20, _clean("CameraNoise", (0.02, 0.7), after=[_jpeg])),
        (0.06, _pairs("noisy-polyu", held_every=6)),
        (0.05, _pairs("noisy-nam", held_every=6)),
        (0.04, _pairs("noisy-cc", held_every=6)),
        (0.04, _drawn("GaussianNoise", (0.05, 0.6))),
    ],
    "raindrop": [
        (0.44, _clean("Raindrops", (0.05, 0.9), after=[_noise, _jpeg])),
        (0.44, _clean("LensDrops", (0.05, 0.9), after=[_noise, _jpeg])),
        (0.12, _pairs("raindrop-robotcar")),
    ],
    "rainy": [
        (0.22, _pairs("rainy", _haze, _noise, _jpeg)),
        (0.10, _pairs("rainy-heavy2")),
        (0.07, _pairs("rainy-light")),
        (0.08, _pairs("rainy-light2")),
        (0.05, _pairs("rainy-mixed")),
        (0.30, _clean(_recorded_rain(_rain_layers), (0.25, 0.6), before=[_haze], after=[_noise, _jpeg])),
        (0.08, _clean(_recorded_rain(_light_rain_layers), (0.3, 0.7), before=[_haze], after=[_jpeg])),
        (0.10, _clean("RainStreaks", (0.0, 0.9))),
    ],
    "shadowed": [
        (0.70, _clean("CastShadow", (0.1, 0.8), after=[_noise, _jpeg])),
        (0.20, _clean("Shadow", (0.1, 0.8))),
        (0.10, _pairs("shadowed-docs")),
    ],
    "snowy": [(1.0, _clean("Snow", (0.05, 0.9), after=[_noise, _jpeg]))],
    "inpainting": [(1.0, _clean("InpaintingMask", (0.05, 1.0), share=0.1, after=[_noise, _jpeg]))],
    "clean": [
        (0.50, _clean("NoDamage", 0.0)),
        (0.25, _drawn("NoDamage", 0.0)),
        (0.10, _clean("NoDamage", 0.0, data_root="train_pairs/shadowed-docs/GT")),
        (0.05, _clean("NoDamage", 0.0, data_root="train_pairs/low-light/GT")),
        (0.10, _clean("NoDamage", 0.0, data_root="train_pairs/hazy2/GT")),
    ],
}
# Further sources for an estimator of mixtures (universal_estimator_mixtures.py): two damages on every picture, so that
# about a quarter of all samples have two.
_mixtures = {
    "motion-blurry": [(0.3, _clean("SceneBlur", (0.3, 1.0), share=1.0, after=[_noise, _grain, _jpeg]))],
    "hazy": [
        (0.40, _clean("Haze", (0.2, 1.0), share=1.0, after=[_rain, _streaks])),
        (0.10, _pairs("hazy2", _rain, _streaks, share=1.0)),
    ],
    "jpeg-compressed": [(0.4, _clean("CameraJPEG", (0.0, 0.8), share=1.0, before=[_noise, _grain]))],
    "low-light": [
        (0.10, _pairs("low-light2", _noise, share=1.0)),
        (0.20, _clean("UnderExposure", (0.2, 1.0), share=1.0, after=[_noise, _grain])),
        (0.10, _clean("LowLight", (0.1, 0.8), share=1.0, after=[_noise])),
    ],
    "noisy": [(0.4, _clean("GaussianNoise", (0.05, 0.5), share=1.0, after=[_jpeg]))],
    "rainy": [
        (0.30, _clean("RainStreaks", (0.1, 0.9), share=1.0, before=[_haze])),
        (0.20, _clean(_recorded_rain(_rain_layers), (0.25, 0.6), share=1.0, before=[_haze])),
    ],
}
# Grounds for an estimator of shadows (universal_estimator_grounds.py), whose grain is no noise.
_ground = dict(draw="DrawGround")
_grounds = {
    "shadowed": [(0.7, _drawn("CastShadow", (0.1, 0.8), **_ground)), (0.3, _drawn("Shadow", (0.1, 0.8), **_ground))],
    "noisy": [(0.25, _drawn("GaussianNoise", (0.05, 0.6), **_ground))],
    "jpeg-compressed": [(0.1, _drawn("CameraJPEG", (0.0, 1.0), **_ground))],
    "clean": [(0.4, _drawn("NoDamage", 0.0, **_ground))],
}
# Nearer to the typical picture, for parts of tasks' own (universal_nafnet_parts_again.py): little can be mended of what
# is heavier.
_typical = {
    "motion-blurry": [
        (0.80, _clean("VideoBlur", (0.05, 0.6), after=[_noise, _jpeg])),
        (0.20, _clean("SceneBlur", (0.05, 0.6), after=[_noise, _jpeg])),
    ],
    "jpeg-compressed": [
        (0.35, _clean("CameraJPEG", (0.0, 1.0), before=[_noise, _grain])),
        (0.90, _clean("JPEGCompression", (0.35, 0.55), before=[_noise])),
        (0.05, _drawn("CameraJPEG", (0.0, 1.0))),
    ],
}
# Haze by the depth of rendered pairs, of any density, over their own pictures and others, and pairs of haze and rain
# that are mirrored but never turned by a quarter, so that streaks stay steep (universal_nafnet_recorded.py).
_upright = dict(turned="RandomFlipPair")
_denser = dict(before=[dict(type="ThickenHaze", severity=(0.2, 0.8))], **_upright)
_recorded_haze = dict(type="RecordedHaze", data_root=["train_pairs/hazy", "train_pairs/hazy2"], **_cache)
_recorded = {
    "hazy": [
        (0.30, _pairs("hazy", _noise, _jpeg, _rain, **_denser)),
        (0.30, _pairs("hazy2", _noise, _jpeg, _rain, **_denser)),
        (0.05, _pairs("hazy-outdoor", held_every=4, **_upright)),
        (0.15, _clean(_recorded_haze, (0.1, 0.9), after=[_noise, _jpeg, _rain])),
        (0.20, _clean("Haze", (0.0, 1.0), after=[_noise, _jpeg, _rain])),
    ],
    "rainy": [
        (0.17, _pairs("rainy", _haze, _noise, _jpeg, **_upright)),
        (0.08, _pairs("rainy-heavy2", **_upright)),
        (0.06, _pairs("rainy-light", **_upright)),
        (0.07, _pairs("rainy-light2", **_upright)),
        (0.04, _pairs("rainy-mixed", **_upright)),
        (0.40, _clean(_recorded_rain(_rain_layers), (0.3, 0.6), before=[_haze], after=[_noise, _jpeg])),
        (0.10, _clean(_recorded_rain(_light_rain_layers), (0.3, 0.7), before=[_haze], after=[_jpeg])),
        (0.08, _clean("RainStreaks", (0.0, 0.9))),
    ],
}
# Less often what has parts of its own; haze, low light and rain more often.
_weights_beside_parts = {
    "motion-blurry": 700,
    "hazy": 1800,
    "jpeg-compressed": 500,
    "low-light": 1500,
    "noisy": 900,
    "raindrop": 700,
    "rainy": 2000,
    "shadowed": 500,
    "snowy": 400,
    "inpainting": 1400,
    "clean": 600,
}
# Small copies for a glance at the whole picture (universal_glance.py): haze, and all else.
_turned = dict(type="RandomFlipRotate")


def _small(*before, share=(0.5, 1.0)):
    return [*before, dict(type="RandomThumbnail", share=share), _turned, dict(type="PackPair")]


def _small_clean(*before, data_root="clean", **options):
    pipeline = _small(dict(type="LoadClean", **_cache), *before, **options)
    return dict(type="SyntheticDataset", data_root=data_root, recursive=True, degradation="NoDamage", pipeline=pipeline)


def _small_damaged(degradation, severity=(0.05, 0.9)):
    damage = dict(type="Degrade", degradation=degradation, severity=severity)
    return _small_clean(dict(type="RandomCropPair", patch=288), damage, share=(0.8, 1.0))


def _small_drawn(draw, *before):
    return dict(type="DrawnDataset", draw=draw, pipeline=_small(dict(type=draw, side=200), *before))


def _small_pairs(folder, *before, **options):
    pipeline = _small(dict(type="LoadPair", **_cache), *before)
    return dict(type="PairedDataset", data_root=f"train_pairs/{folder}", pipeline=pipeline, **options)


_thinner = dict(type="FadePair", severity=(0.2, 0.5))
_glances = {
    "clean": [
        (0.25, _small_clean()),
        # Little of a photograph: walls, water and grass, which have as little contrast as haze.
        (0.15, _small_clean(share=(0.15, 0.5))),
        *((0.05, _small_clean(data_root=f"train_pairs/{folder}/GT")) for folder in ("hazy", "hazy2")),
        *((0.04, _small_clean(data_root=f"train_pairs/{folder}/GT")) for folder in ("low-light", "low-light2")),
        (0.04, _small_clean(data_root="train_pairs/shadowed-docs/GT")),
        (0.12, _small_drawn("DrawGround")),
        (0.12, _small_drawn("DrawGround", dict(type="Degrade", degradation="CastShadow", severity=(0.1, 0.8)))),
        (0.03, _small_drawn("DrawPicture")),
        *(
            (0.02, _small_damaged(kind))
            for kind in ("UnderExposure", "LowLight", "Raindrops", "LensDrops", "Snow", "RainStreaks", "CastShadow")
        ),
        *((0.01, _small_damaged(kind)) for kind in ("GaussianNoise", "CameraJPEG", "SceneBlur", "InpaintingMask")),
        *((0.02, _small_pairs(folder)) for folder in ("low-light", "low-light2", "raindrop-robotcar", "rainy-light")),
        *((0.02, _small_pairs(folder)) for folder in ("rainy", "rainy-light2", "rainy-mixed", "rainy-heavy2")),
    ],
    "hazy": [
        *((0.3, _small_pairs(folder, _thinner)) for folder in ("hazy", "hazy2")),
        (0.1, _small_pairs("hazy-outdoor", held_every=4)),
        (0.3, _small_damaged("Haze", (0.2, 1.0))),
    ],
}
# How often each is trained, against 1000.
_weights = {
    "snowy": 400,
    "clean": 600,
    "noisy": 800,
    "jpeg-compressed": 800,
    "rainy": 1500,
    "inpainting": 1200,
    "motion-blurry": 1700,
    "raindrop": 1200,
}


def _datasets(sources, weights):
    return [
        dict(
            type="MixtureDataset",
            task=task,
            datasets=[source for _, source in parts],
            shares=[share for share, _ in parts],
            weight=weights.get(task, 1000),
        )
        for task, parts in sources.items()
    ]


_tasks = list(_sources)
_mixed = {task: [*parts, *_mixtures.get(task, [])] for task, parts in _sources.items()}
_with_mixtures = _datasets(_mixed, _weights)
_with_grounds = _datasets({task: [*parts, *_grounds.get(task, [])] for task, parts in _mixed.items()}, {})
_with_typical = _datasets({**_sources, **_typical}, {})
_with_recorded = _datasets({**_sources, **_recorded}, _weights_beside_parts)
_of_glances = _datasets(_glances, {})
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(type="MultiTaskDataset", datasets=_datasets(_sources, _weights)),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="MultiTaskDataset",
        datasets=[
            dict(type="PairedDataset", task=task, data_root=f"real10/{task}") for task in _tasks if task != "clean"
        ],
    ),
)
val_cfg = dict()
val_evaluator = [dict(type="PSNR"), dict(type="SSIM"), dict(type="InputPSNR")]
test_dataloader = val_dataloader
test_cfg = dict()
test_evaluator = val_evaluator
