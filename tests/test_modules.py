"""Networks: any image, any code, weights from one generator."""

import numpy as np
import pytest
import torch
from torch import nn

from sk_autoencoder import ConvAutoencoderTransformer
from sk_autoencoder._modules import ARCHITECTURES, build
from sk_autoencoder._plain import _TransposedConv

OPTIONS = {
    "n_components": 6,
    "channels": None,
    "strides": None,
    "code_activation": "identity",
    "output_activation": "identity",
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [(1, 1), (1, 10), (9, 1), (7, 5), (8, 8), (17, 30)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_components", [1, 7, 300])
def test_any_image_and_any_code(architecture, size, channels, n_components):
    options = OPTIONS | {"n_components": n_components}
    module = build(
        architecture, image_shape=(channels, *size), **options, generator=seeded()
    )
    x = torch.rand(2, channels, *size)
    z = module.encode(x)
    assert z.shape == (2, n_components)
    assert module.decode(z).shape == x.shape


@pytest.mark.parametrize(
    "strides", [(1,), (2, 2), (1, 2, 1), (3, 2), (2, 2, 2, 2), (1, 1, 3)]
)
def test_any_strides_of_the_plain_stack(strides):
    options = OPTIONS | {"channels": (4,) * len(strides), "strides": strides}
    for height in range(1, 14):
        module = build(
            "plain", image_shape=(2, height, 11), **options, generator=seeded()
        )
        x = torch.rand(1, 2, height, 11)
        assert module(x)[0].shape == x.shape


def test_long_images_are_folded_no_more_than_they_are_high():
    for size, fold in (((2, 2000), 2), ((12, 5000), 8), ((100, 7), 4), ((55, 40), 4)):
        module = build("residual", image_shape=(1, *size), **OPTIONS)
        assert module.network.fold == fold


@pytest.mark.parametrize("size", [(1, 37), (37, 1), (1, 3000)])
@pytest.mark.parametrize("cleaner", [False, True])
def test_order_on_a_line_means_nothing(size, cleaner):
    options = OPTIONS | {"image_shape": (1, *size), "cleaner": cleaner}
    network = build("residual", **options, generator=seeded()).network
    assert network.refiner is network.cleaner is None
    assert network.small == (1, *size)  # no averages of neighbours


@pytest.mark.parametrize("size, depth", [((7, 9), 1), ((60, 50), 3)])
def test_a_cleaner_for_many_levels_sees_how_noisy_all_of_the_image_is(size, depth):
    shape = depth, *size
    options = OPTIONS | {"image_shape": shape, "cleaner": True}
    network = build("residual", **options, many_levels=True, generator=seeded()).network
    blocks = depth * network.fold**2
    seen = []
    network.cleaner[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.rand((4, *shape), generator=seeded())
    network.encode(x)
    (seen,) = seen
    std, mean = seen[:, 2 * blocks :].split(depth, 1)
    torch.testing.assert_close(mean[..., 0, 0], x.mean((2, 3)))
    torch.testing.assert_close(std[..., 0, 0], x.std((2, 3), correction=0))
    for each in (std, mean):
        assert torch.equal(each, each[..., :1, :1].expand_as(each))
    plain = build("residual", **options, generator=seeded()).network
    assert plain.cleaner[0].in_channels == 2 * blocks


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_come_from_the_generator_alone(architecture):
    def weights(seed):
        module = build(
            architecture, image_shape=(1, 8, 8), **OPTIONS, generator=seeded(seed)
        )
        return torch.cat([p.flatten() for p in module.parameters()])

    before = torch.get_rng_state()
    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_article_stack_layer_by_layer():
    module = build(
        "plain",
        image_shape=(1, 32, 32),
        **OPTIONS | {"n_components": 256, "code_activation": "sigmoid"},
        generator=seeded(),
    ).network
    convolutions = [layer for layer in module.encoder if isinstance(layer, nn.Conv2d)]
    described = [(c.in_channels, c.out_channels, c.stride[0]) for c in convolutions]
    assert described == [(1, 16, 2), (16, 32, 1), (32, 64, 1), (64, 128, 1)]
    assert module.to_code.weight.shape == (256, 16 * 16 * 128)
    assert isinstance(module.from_code, nn.Identity)
    assert module.grid == (1, 16, 16)
    transposed = [
        layer for layer in module.decoder if isinstance(layer, nn.ConvTranspose2d)
    ]
    described = [(c.in_channels, c.out_channels, c.stride[0]) for c in transposed]
    assert described == [(1, 128, 2), (128, 64, 1), (64, 32, 1), (32, 1, 1)]
    for layer in (*convolutions, *transposed):
        assert layer.kernel_size == (3, 3)
    kinds = [
        next(
            kind
            for kind in (nn.Conv2d, nn.ConvTranspose2d, nn.ReLU, nn.Module)
            if isinstance(layer, kind)
        )
        for layer in (*module.encoder, *module.decoder)
    ]
    assert kinds == [nn.Conv2d, nn.ReLU] * 4 + (
        [nn.ConvTranspose2d, nn.ReLU] * 3 + [nn.ConvTranspose2d]
    )


def test_plain_starts_glorot_uniform():
    module = build("plain", image_shape=(1, 32, 32), **OPTIONS, generator=seeded())
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            fans = layer.weight.shape[:2]
            field = layer.weight[0, 0].numel() if layer.weight.ndim == 4 else 1
            bound = (6 / (sum(fans) * field)) ** 0.5
            largest = layer.weight.abs().max().item()
            assert 0.9 * bound < largest <= bound
            assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)
            assert not layer.bias.any()


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
def test_transposed_convolutions_are_what_torch_computes(stride, channels, size):
    extra = (0, stride - 1)
    layer = _TransposedConv(channels, 5, 3, stride, 1, extra).double()
    x = torch.rand(2, channels, *size, dtype=torch.double, requires_grad=True)
    ours, expected = layer(x), nn.ConvTranspose2d.forward(layer, x)
    torch.testing.assert_close(ours, expected)
    weights = [x, *layer.parameters()]
    upstream = torch.rand_like(expected)
    for gradient, known in zip(
        torch.autograd.grad(ours, weights, upstream),
        torch.autograd.grad(expected, weights, upstream),
    ):
        torch.testing.assert_close(gradient, known)


@pytest.mark.parametrize(
    "side, width, strides", [(8, 8, (2, 2, 2, 2)), (16, 16, (3, 3, 3)), (10, 1, (2, 1))]
)
def test_strides_that_end_at_a_pixel_give_the_same_each_time(side, width, strides):
    # oneDNN leaves parts of such gradients in bfloat16 as the memory was
    X = np.random.default_rng(0).random((40, side, width))
    ae = ConvAutoencoderTransformer(
        8,
        architecture="plain",
        channels=(8, 16, 32, 64)[: len(strides)],
        strides=strides,
        max_epochs=2,
        precision="bfloat16",
        random_state=0,
    )
    weights = []
    for dirt in (np.nan, 1e4):
        garbage = [torch.full((2**k,), dirt) for k in range(6, 20) for _ in range(8)]
        del garbage
        weights.append(ae.fit(X).weights_)
    for name, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][name])
