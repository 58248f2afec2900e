"""From an encoded image to pixels of the wanted size."""

import tensorflow as tf

ZOOM = 0.875  # Share of the shorter side that evaluation keeps: 224 of 256 pixels.


def decoded(data, channels=3):
    """The pixels of an image as stored.

    Read by content, whatever the file's name: JPEG (CMYK too), PNG (16 bits become 8, transparency
    is dropped), GIF (its first picture), BMP, WebP.

    Args:
        data: str tensor (), the encoded image.
        channels: int, 1 or 3. Grey images get three equal channels.
    Returns:
        uint8 tensor (height, width, channels).
    Example:
        >>> decoded(tf.io.encode_png(np.zeros((2, 3, 1), "uint8"))).shape.as_list()
        [2, 3, 3]
    """
    image = tf.io.decode_image(data, channels, expand_animations=False)
    return tf.ensure_shape(image, (None, None, channels))


def read_image(data, size, channels=3, seed=None, least_area=None):
    """An image brought to a size.

    Evaluation, and training without a random-resized crop: the central square of 7/8 of the
    shorter side, which is what scaling that side to 256 pixels and cutting out 224 gives; an image
    that has the wanted size is left as it is. Of a JPEG, only the window is decoded.

    Args:
        data: str tensor (), the encoded image.
        size: int, side of the result (pixels), or None for the image as stored.
        channels: int, 1 or 3.
        seed: int tensor (2,), for a random-resized crop.
        least_area: float in (0, 1], or None. Least share of the image that a random-resized crop
            keeps; its width is from 3/4 to 4/3 of its height.
    Returns:
        Tensor (size, size, channels), values from 0 to 255; uint8 as stored, else float.
    Example:
        >>> data = tf.io.encode_jpeg(np.zeros((40, 60, 3), "uint8"))
        >>> read_image(data, 32).shape.as_list()
        [32, 32, 3]
    Source: window as in Szegedy et al., "Going deeper with convolutions", 2015, section 6.
    """
    if size is None:
        return decoded(data, channels)

    def window(shape):
        if least_area is None:
            return central_window(shape, size)
        return random_window(shape, seed, least_area)

    def of_jpeg():
        cut = window(tf.image.extract_jpeg_shape(data)[:2])
        return tf.image.decode_and_crop_jpeg(data, cut, channels)

    def of_other():
        image = decoded(data, channels)
        cut = window(tf.shape(image)[:2])
        return image[cut[0] : cut[0] + cut[2], cut[1] : cut[1] + cut[3]]

    image = tf.cond(tf.io.is_jpeg(data), of_jpeg, of_other)
    # Enlarging is the same with and without, but faster without.
    image = tf.cond(
        tf.reduce_any(tf.shape(image)[:2] > size),
        lambda: tf.image.resize(image, (size, size), antialias=True),
        lambda: tf.image.resize(image, (size, size)),
    )
    return tf.ensure_shape(image, (size, size, channels))


def read_whole(data, size, channels=3, seed=None, least_area=None):
    """A whole image brought to a size, whatever becomes of its proportions.

    Args:
        data, channels, seed, least_area: see `read_image`; without a random-resized crop nothing is cut
            off.
        size: pair of int, height and width of the result (pixels).
    Returns:
        uint8 tensor (height, width, channels).
    Example:
        >>> data = tf.io.encode_jpeg(np.zeros((40, 60, 3), "uint8"))
        >>> read_whole(data, (64, 32)).shape.as_list()
        [64, 32, 3]
    """
    image = decoded(data, channels)
    if least_area is not None:
        cut = random_window(tf.shape(image)[:2], seed, least_area)
        image = image[cut[0] : cut[0] + cut[2], cut[1] : cut[1] + cut[3]]
    image = tf.cond(
        tf.reduce_any(tf.shape(image)[:2] > size),
        lambda: tf.image.resize(image, size, antialias=True),
        lambda: tf.image.resize(image, size),
    )
    image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
    return tf.ensure_shape(image, (*size, channels))


def central_window(shape, size):
    """The window that evaluation keeps.

    Args:
        shape: int tensor (2,): height and width of the image (pixels).
        size: int. Side that is wanted.
    Returns:
        int32 tensor (4,): top, left, height, width (pixels).
    Example:
        >>> central_window((256, 512), 224).numpy().tolist()
        [16, 144, 224, 224]
    """
    shape = tf.cast(shape, tf.int32)
    side = tf.cast(tf.round(ZOOM * tf.cast(tf.reduce_min(shape), tf.float32)), tf.int32)
    side = tf.maximum(side, 1)
    corner = (shape - side) // 2
    central = tf.concat([corner, [side, side]], 0)
    whole = tf.concat([[0, 0], shape], 0)
    return tf.where(tf.reduce_all(shape == size), whole, central)


def random_window(shape, seed, least_area):
    """The window of a random-resized crop.

    Args:
        shape: int tensor (2,): height and width of the image (pixels).
        seed: int tensor (2,).
        least_area: float in (0, 1]. Least share of the image.
    Returns:
        int32 tensor (4,): top, left, height, width (pixels); the whole image where no window fits.
    Example:
        >>> random_window((1, 1), (0, 7), 0.08).numpy().tolist()
        [0, 0, 1, 1]
    """
    shape = tf.cast(shape, tf.int32)
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape, [3]], 0),
        bounding_boxes=tf.zeros((1, 0, 4)),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(least_area, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], extent[:2]], 0)
