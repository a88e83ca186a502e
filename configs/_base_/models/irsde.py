# IR-SDE as published (Luo et al., ICML 2023): ConditionalNAFNet, max_sigma 10, 100 steps, pictures in [0, 1].
model = dict(
    type="BridgeRestorer",
    backbone=dict(
        type="ConditionalNAFNet", width=64, enc_blk_nums=[1, 1, 1, 28], middle_blk_num=1, dec_blk_nums=[1, 1, 1, 1]
    ),
    scheduler=dict(type="IRSDE", max_sigma=10, T=100, schedule="cosine", eps=0.005),
    sampler=dict(type="ReverseSDESampler"),
    matching="step",
    codec="image",
)
