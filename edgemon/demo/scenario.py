"""A camera that reads handwritten digits off meters, and its lens, which gets dirty.

The base images are scikit-learn's bundled digits: 1,797 scans of 8 x 8 pixels. They are split, by
class, into three disjoint thirds: one trains the classifier, one makes the reference, one is what the
camera sees live. Every picture of every third goes through the same optics:

    base image -> turned, shifted, scaled -> lens (dirt: blur, contrast loss) -> exposure, noise -> pixels

Dirt is a number from 0 (clean) to 1, and acts on the picture alone. What the application logs of a
picture, and what the classifier says to it, are computed from the pixels; nothing else knows of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDE = 16  # pixels of a picture's edge
CLASSES = 10
FEATURES = (
    "brightness",
    "contrast",
    "sharpness",
    "edge_energy",
    "ink_share",
    "centroid_x",
    "centroid_y",
)

_TRAIN_PICTURES = 12_000
_EPOCHS = 25
_NEURONS = 96
# The lens at dirt 1: the blur's sigma in pixels, and how much of the light is a grey veil.
_BLUR_PIXELS = 1.6
_VEIL_SHARE = 0.5
_VEIL_LEVEL = 0.45
_NOISE = 0.03  # sigma of the sensor's noise, full scale is 1


class Images(NamedTuple):
    """Base images. pixels: (n, 8, 8), 0 to 1, ink is bright.  labels: (n,).  ids: (n,) row numbers
    in scikit-learn's data set, by which thirds can be shown to be disjoint."""

    pixels: Floats
    labels: Ints
    ids: Ints


class Thirds(NamedTuple):
    train: Images
    reference: Images
    live: Images


class Pictures(NamedTuple):
    """What the camera took. pixels: (n, SIDE, SIDE), 0 to 1.  labels: (n,) the truth."""

    pixels: Floats
    labels: Ints


class Observed(NamedTuple):
    """What the application logs of n pictures. features: (n, len(FEATURES)).
    confidences: (n, CLASSES), rows sum to 1."""

    features: Floats
    confidences: Floats


def split(seed: int) -> Thirds:
    """Deal the 1,797 images out into three thirds, class by class, so that each has every digit."""
    digits = load_digits()
    pixels = np.asarray(digits.images, dtype=np.float64) / 16.0
    labels = np.asarray(digits.target, dtype=np.int64)
    order = np.random.default_rng([seed, 0]).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]

    def third(first: int) -> Images:
        ids = np.sort(order[first::3])
        return Images(pixels[ids], labels[ids], ids)

    return Thirds(third(0), third(1), third(2))


class Camera:
    """Takes pictures of base images, chosen at random, with a lens that may be dirty."""

    def __init__(self, images: Images, rng: np.random.Generator) -> None:
        self._images = images
        self._rng = rng

    def take(self, dirt: Floats) -> Pictures:
        """One picture for each entry of `dirt` (n,), each from 0 to 1."""
        rng = self._rng
        n = len(dirt)
        chosen = rng.integers(len(self._images.labels), size=n)
        seen = _place(
            self._images.pixels[chosen],
            angle=rng.normal(0.0, 0.10, n),
            scale=rng.uniform(0.9, 1.1, n),
            shift=rng.normal(0.0, 0.3, (n, 2)),
        )
        seen = through_lens(seen, dirt)
        gain = rng.uniform(0.75, 1.15, n)[:, None, None]
        offset = rng.uniform(0.0, 0.08, n)[:, None, None]
        noise = rng.normal(0.0, _NOISE, seen.shape)
        return Pictures(
            np.clip(seen * gain + offset + noise, 0.0, 1.0), self._images.labels[chosen]
        )


class Reader:
    """The classifier: a small neural network, trained on the training third alone."""

    def __init__(self, images: Images, rng: np.random.Generator) -> None:
        pictures = Camera(images, rng).take(np.zeros(_TRAIN_PICTURES))
        self._network = MLPClassifier(
            (_NEURONS,),
            alpha=0.01,
            max_iter=_EPOCHS,
            tol=0.0,
            n_iter_no_change=_EPOCHS + 1,
            learning_rate_init=3e-3,
            batch_size=200,
            random_state=int(rng.integers(2**31)),
        )
        _quietly_fit(self._network, _flat(pictures.pixels), pictures.labels)

    def observe(self, pixels: Floats) -> Observed:
        """What the application logs of pictures (n, SIDE, SIDE)."""
        confidences: Floats = self._network.predict_proba(_flat(pixels))
        return Observed(features(pixels), confidences)


class Scenario(NamedTuple):
    """All that the demonstration plays with. Equal seeds play equal scenes."""

    thirds: Thirds
    reader: Reader
    reference: Camera
    live: Camera


def build(seed: int) -> Scenario:
    """Split, train (a few seconds on one core), and set the two cameras up."""
    thirds = split(seed)
    # More threads than one only wait for each other on matrices of this size.
    threadpool_limits(1)
    generators = [np.random.default_rng([seed, stream]) for stream in (1, 2, 3)]
    return Scenario(
        thirds,
        Reader(thirds.train, generators[0]),
        Camera(thirds.reference, generators[1]),
        Camera(thirds.live, generators[2]),
    )


def dirt_at(pictures_since: Ints, growth: int) -> Floats:
    """Dirt of the k-th picture since the lens began to get dirty: 0 before, then up to 1 in `growth`."""
    return np.clip(pictures_since / growth, 0.0, 1.0)


def features(pixels: Floats) -> Floats:
    """(n, SIDE, SIDE) -> (n, len(FEATURES)): numbers that cost a real camera nothing to log.

    brightness mean · contrast standard deviation · sharpness variance of the Laplacian ·
    edge_energy mean square of the gradient · ink_share pixels brighter than the middle of the range
    · centroid_x, centroid_y of the light, pixels from the middle.
    """
    n = len(pixels)
    brightness = pixels.mean(axis=(1, 2))
    variance = pixels.var(axis=(1, 2))
    inner = pixels[:, 1:-1, 1:-1]
    laplacian = (
        pixels[:, :-2, 1:-1]
        + pixels[:, 2:, 1:-1]
        + pixels[:, 1:-1, :-2]
        + pixels[:, 1:-1, 2:]
        - 4.0 * inner
    )
    across = pixels[:, 1:-1, 2:] - pixels[:, 1:-1, :-2]
    down = pixels[:, 2:, 1:-1] - pixels[:, :-2, 1:-1]
    middle = (pixels.min(axis=(1, 2)) + pixels.max(axis=(1, 2))) / 2.0
    light = pixels.sum(axis=(1, 2)) + 1e-9
    axis = np.arange(SIDE) - (SIDE - 1) / 2.0
    columns = [
        brightness,
        np.sqrt(variance),
        laplacian.var(axis=(1, 2)),
        (across**2 + down**2).mean(axis=(1, 2)),
        (pixels > middle[:, None, None]).mean(axis=(1, 2)),
        (pixels.sum(axis=1) @ axis) / light,
        (pixels.sum(axis=2) @ axis) / light,
    ]
    return np.column_stack(columns).reshape(n, len(FEATURES))


def through_lens(pictures: Floats, dirt: Floats) -> Floats:
    """Blur and veil each picture (n, SIDE, SIDE) by its dirt (n,). Dirt 0 changes nothing."""
    sigma = _BLUR_PIXELS * dirt[:, None, None]
    steps = np.arange(SIDE)
    distance = (steps[:, None] - steps[None, :]).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        blur = np.exp(-0.5 * (distance / sigma) ** 2)
    blur = np.where(distance == 0, 1.0, np.where(sigma > 0, blur, 0.0))
    blur /= blur.sum(axis=2, keepdims=True)  # the picture's edge loses no light
    blurred = blur @ pictures @ blur.transpose(0, 2, 1)
    veil = _VEIL_SHARE * dirt[:, None, None]
    return blurred * (1.0 - veil) + _VEIL_LEVEL * veil


def _place(images: Floats, angle: Floats, scale: Floats, shift: Floats) -> Floats:
    """Draw (n, 8, 8) images on (n, SIDE, SIDE) pictures, turned (radians), scaled and shifted
    (image pixels), with bilinear sampling; there is no light outside an image."""
    n, side = len(images), images.shape[1]
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    # A picture shows the image with a margin of one image pixel on each side.
    grid = (np.arange(SIDE) - (SIDE - 1) / 2.0) * (side + 1.0) / SIDE
    y, x = np.meshgrid(grid, grid, indexing="ij")
    cos, sin = (np.cos(angle) / scale)[:, None, None], (np.sin(angle) / scale)[:, None, None]
    centre = (padded.shape[1] - 1) / 2.0
    limit = padded.shape[1] - 1.001
    from_y = np.clip(cos * y + sin * x + shift[:, 0, None, None] + centre, 0.0, limit)
    from_x = np.clip(cos * x - sin * y + shift[:, 1, None, None] + centre, 0.0, limit)
    top, left = from_y.astype(np.int64), from_x.astype(np.int64)
    dy, dx = from_y - top, from_x - left
    which = np.arange(n)[:, None, None]
    above = padded[which, top, left] * (1 - dx) + padded[which, top, left + 1] * dx
    below = padded[which, top + 1, left] * (1 - dx) + padded[which, top + 1, left + 1] * dx
    drawn: Floats = above * (1 - dy) + below * dy
    return drawn


def _flat(pixels: Floats) -> Floats:
    return pixels.reshape(len(pixels), SIDE * SIDE)


def _quietly_fit(network: MLPClassifier, inputs: Floats, labels: Ints) -> None:
    """Train for a fixed number of epochs; scikit-learn warns that it could have gone on."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(inputs, labels)
