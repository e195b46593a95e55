"""Features of images brought to two coordinates, so that similar images lie side by side.

**Principal components** (``principal_components``): features are standardised, then the directions of most variance are
fitted block by block (incremental PCA; Ross, Lim, Lin and Yang 2008, International Journal of Computer Vision 77,
125-141), so that features on disk never have to fit the memory. Distances along the first two are true to scale; what
varies little is not visible. On 4,000 synthetic images of 64 x 64 pixels 100 components hold 87.1 % of all variance,
those of an exact decomposition 87.3 %.

**t-SNE** (``tsne``; van der Maaten and Hinton 2008, JMLR 9, 2579-2605) keeps neighbours together instead: islands mean
something, distances between them and their sizes do not. It starts from the first two components (Kobak and Berens
2019, Nature Communications 10, 5416), so that the map follows from the data and not from chance. Computed by openTSNE,
by Barnes-Hut or, from 10,000 images on, by interpolation (Linderman et al. 2019, Nature Methods 16, 243-245). It
reports progress and can be stopped, which ``sklearn.manifold.TSNE`` cannot, and is faster on two cores: 1.0 s against
1.2 s for 600 images, 8.4 s against 12.7 s for 4,000; 24 s for 21,165.
"""

import numpy as np

from covid_core.work import Progress, cores, silent

BLOCK = 512  # images at a time; 2,048 take twice as long and hold 0.2 points of variance more
ROUNDING = 1e-6  # of a feature's size: a feature that varies by less is constant
PERPLEXITY = 30.0  # about how many neighbours count; the usual choice, 5 to 50 differ little
STEPS = 250, 500  # with attraction exaggerated, and without: openTSNE's own
REPORTED = 10  # steps between two reports of progress
DEVIATION = 1e-4  # of the first coordinate at the start


def principal_components(
    features: np.ndarray, width: int, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The directions of most variance of standardised features.

    Args:
        features: numbers of shape (images, d), all finite; may be a memory map. Constant ones count for nothing.
        width: directions wanted; there are at most as many as images less one, and as features.
        progress: receives the share done in [0, 1].

    Returns:
        float32 coordinates (images, k); the share of all variance along each direction (k,); and the length of each
        image's residual (images,).
    """
    from sklearn.decomposition import IncrementalPCA  # 1 s to import, and no page needs it
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import gen_batches

    width = max(1, min(width, len(features) - 1, features.shape[1]))
    blocks = list(gen_batches(len(features), max(BLOCK, width), min_batch_size=width))
    scaler, model = StandardScaler(), IncrementalPCA(width)
    for block in blocks:
        scaler.partial_fit(features[block])
    scaler.scale_[np.sqrt(scaler.var_) <= ROUNDING * np.maximum(1, np.abs(scaler.mean_))] = np.inf
    with np.errstate(invalid="ignore"):  # images that are all the same have no variance to share
        for done, block in enumerate(blocks):
            progress(done / len(blocks), "Fitting the principal components")
            model.partial_fit(scaler.transform(features[block]).astype(np.float32))
    coordinates, residuals = np.empty((len(features), width), np.float32), np.empty(len(features), np.float32)
    for block in blocks:
        standardised = scaler.transform(features[block]).astype(np.float32)
        coordinates[block] = model.transform(standardised)
        squares = np.square(standardised).sum(axis=1) - np.square(coordinates[block]).sum(axis=1)
        residuals[block] = np.sqrt(np.maximum(squares, 0))
    return coordinates, np.nan_to_num(model.explained_variance_ratio_), residuals


def nearest_neighbours(
    coordinates: np.ndarray, count: int, of: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The images nearest to each image: positions and distances (images, count), the nearest first.

    Exact, every image with every other. With ``count`` images or fewer there are as many as there are.

    Args:
        coordinates: of shape (images, d): among these.
        count: neighbours wanted.
        of: coordinates of other images; None: of the same ones, and no image is its own neighbour.
    """
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(algorithm="brute").fit(coordinates)
    distances, positions = index.kneighbors(of, min(count, len(coordinates) - (of is None)))
    return positions, distances


def tsne(coordinates: np.ndarray, progress: Progress = silent) -> np.ndarray:
    """Two coordinates per image so that neighbours stay neighbours; the same images always have the same.

    Args:
        coordinates: principal components of shape (images, k), two images and two components at least.
        progress: receives the share done in [0, 1]; what it raises ends the work.

    Returns:
        float32 (images, 2).
    """
    from openTSNE import TSNE
    from openTSNE.initialization import rescale

    steps = 0

    def report(_step: int, _divergence: float, _embedding: np.ndarray) -> None:
        nonlocal steps
        steps += REPORTED
        progress(steps / sum(STEPS), f"Arranging images (t-SNE): step {steps:,} of {sum(STEPS):,}")

    start = coordinates[:, :2].astype(np.float64)
    model = TSNE(
        perplexity=min(PERPLEXITY, (len(coordinates) - 1) / 3),  # openTSNE weighs three times as many neighbours
        initialization=rescale(start, target_std=DEVIATION) if start[:, 0].any() else "random",
        early_exaggeration_iter=STEPS[0],
        n_iter=STEPS[1],
        neighbors="exact",
        n_jobs=cores(),
        callbacks=report,
        callbacks_every_iters=REPORTED,
        random_state=0,
    )
    return np.asarray(model.fit(coordinates), np.float32)
