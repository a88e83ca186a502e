import torch

from dtir.diffusion import IMAGE_SCALE, DDPMScheduler, generative_pair, to_centred, to_image


def test_map_is_exact_at_ends_and_keeps_values_outside():
    image = torch.tensor([-0.5, 0.0, 0.5, 1.0, 1.5])
    assert to_centred(image).tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert torch.equal(to_image(to_centred(image)), image)


def test_noise_shrinks_by_image_scale():
    centred, noise = torch.tensor([0.25]), torch.tensor([0.5])
    assert torch.equal(to_image(centred + noise) - to_image(centred), noise * IMAGE_SCALE)


def test_generative_pair_noises_each_sample_to_its_own_step():
    scheduler, generator = DDPMScheduler(), torch.Generator().manual_seed(1)
    gt, eps = torch.rand(3, 3, 4, 4, generator=generator), torch.randn(3, 3, 4, 4, generator=generator)
    x_t = generative_pair(gt, eps, torch.tensor([0, 6, 50]), scheduler)
    torch.testing.assert_close(x_t[0], gt[0])
    for i, t in ((1, 6), (2, 50)):
        abar = scheduler.alphas_cumprod[t].double()
        expected = (1 + abar.sqrt() * (2 * gt[i] - 1) + (1 - abar).sqrt() * eps[i]) / 2
        torch.testing.assert_close(x_t[i].double(), expected.double(), atol=1e-6, rtol=0)
