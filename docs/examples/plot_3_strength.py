"""
How much of the damage to remove
================================

``strength`` is the share of the change that is applied: 0 leaves the picture as it is, 1 is the network's answer.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import dtir

damaged = Path(dtir.__file__).parent / "assets" / "damaged"
photo = np.array(Image.open(damaged / "noisy.jpg"))[100:292, 200:392]

# %%
# The damage is named, so that no picture is left as it is because the estimator is unsure.

strengths = (0, 0.25, 0.5, 0.75, 1)
pictures = [dtir.restore(photo, task="noisy", strength=strength) for strength in strengths]

# %%
# A little noise that is left often looks more natural than none.

figure, axes = plt.subplots(1, 5, figsize=(10, 2.4), layout="constrained")
for axis, picture, strength in zip(axes, pictures, strengths, strict=True):
    axis.imshow(picture)
    axis.set_title(f"strength {strength:g}")
    axis.axis("off")
plt.show()
