import math

import pytest
import torch

from dtir.core.errors import DtirError
from dtir.evaluation.reports.run.tsne import conditional_probabilities, tsne


def clusters() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = 10 * torch.randn(3, 12, generator=generator)
    return (centres[:, None] + torch.randn(3, 20, 12, generator=generator)).flatten(0, 1)


def test_clusters_stay_together_and_apart():
    points = tsne(clusters(), perplexity=10, iterations=300)
    assert torch.equal(tsne(clusters(), perplexity=10, iterations=300), points)
    torch.testing.assert_close(points.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)
    groups = points.view(3, 20, 2)
    radius = (groups - groups.mean(1, keepdim=True)).norm(dim=2).max()
    gaps = torch.pdist(groups.mean(1))
    assert gaps.min() > 2 * radius


def test_every_neighbourhood_has_the_perplexity():
    p = conditional_probabilities(clusters().double(), 7.0)
    entropy = -(p * p.clamp(min=1e-300).log()).sum(1)
    torch.testing.assert_close(entropy, torch.full_like(entropy, math.log(7.0)), rtol=1e-6, atol=1e-6)
    assert (p.diagonal() == 0).all()


@pytest.mark.parametrize("features", [torch.zeros(3, 2), torch.full((5, 2), torch.nan)])
def test_too_few_or_no_numbers(features):
    with pytest.raises(DtirError, match="at least 4 points of finite features"):
        tsne(features)
