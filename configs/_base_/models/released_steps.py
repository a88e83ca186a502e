# The fixed table of matched steps released with Lu et al., arXiv 2506.21722.
_matched_t = {
    "noisy": 4,
    "rainy": 8,
    "jpeg-compressed": 12,
    "snowy": 15,
    "inpainting": 19,
    "raindrop": 22,
    "shadowed": 27,
    "low-light": 38,
    "hazy": 47,
    "motion-blurry": 50,
}
