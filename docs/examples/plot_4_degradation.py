"""
A degradation of your own
=========================

A class of a dozen lines, looked at before anything is trained on it. :doc:`Extending </extend>` has the contract.
"""

from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import dtir
from dtir.datasets.degradations import Degradation
from dtir.registry import DEGRADATIONS

# %%
# A leak of light into the camera: a warm glow from one side. All chance comes from the generator that it is given, and
# severity 0.5 is the typical picture.


@DEGRADATIONS.register_module()
class LightLeak(Degradation):
    """A warm glow from the left or the right."""

    def degrade(self, image, rng, severity):
        width = image.shape[1]
        distance = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
        if rng.random() < 0.5:
            distance = 1 - distance
        edge = rng.uniform(0.2, 0.5) + 0.05 * cv2.GaussianBlur(rng.standard_normal(image.shape), (0, 0), 20)[..., :1]
        glow = np.exp(-((distance / edge) ** 2)) * np.array([1.0, 0.5, 0.15])
        return image + 2 * severity * glow


# %%
# In a config it is ``dict(type="SyntheticDataset", degradation="LightLeak", ...)``. Here it is called by hand.

photo = Path(dtir.__file__).parent / "assets" / "photos" / "chelsea.png"
clean = np.array(Image.open(photo).convert("RGB"), np.float32)[:256, 60:316] / 255
severities = (0.2, 0.5, 0.8)

figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
pictures = [clean, *(LightLeak()(clean, np.random.default_rng(3), severity) for severity in severities)]
for axis, picture, title in zip(axes, pictures, ("clean", *(f"severity {s:g}" for s in severities)), strict=True):
    axis.imshow(picture)
    axis.set_title(title)
    axis.axis("off")
plt.show()
