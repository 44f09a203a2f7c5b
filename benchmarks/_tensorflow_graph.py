"""The article's network in TensorFlow's graph mode: prints the seconds of each epoch.

For an environment of its own, with `pip install tensorflow-cpu==2.15.1 scikit-learn`:
`bench_speed.py --tensorflow path/to/its/python` runs it. A helper, not a benchmark.
"""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
v1.disable_eager_execution()
v1.logging.set_verbosity(v1.logging.ERROR)

path, epochs = sys.argv[1], int(sys.argv[2])
faces = np.load(path).reshape(-1, 64, 64, 1)
batch = 50


def layer(kind, x, filters, stride, activation=tf.nn.relu):
    make = getattr(tf.keras.layers, kind)
    return make(filters, 3, stride, padding="same", activation=activation)(x)


images = v1.placeholder(tf.float32, (None, 64, 64, 1))
small = v1.image.resize_images(images, (32, 32), method=v1.image.ResizeMethod.BICUBIC)
x = small
for filters, stride in ((16, 2), (32, 1), (64, 1), (128, 1)):
    x = layer("Conv2D", x, filters, stride)
code = tf.keras.layers.Dense(256, activation="sigmoid")(tf.reshape(x, (-1, 32768)))
x = tf.reshape(code, (-1, 16, 16, 1))
for filters, stride in ((128, 2), (64, 1), (32, 1)):
    x = layer("Conv2DTranspose", x, filters, stride)
output = layer("Conv2DTranspose", x, 1, 1, tf.nn.sigmoid)
loss = 0.5 * tf.reduce_sum(tf.square(output - small))
step = v1.train.AdamOptimizer(0.001).minimize(loss)

seconds, rng = [], np.random.default_rng(0)
with v1.Session() as session:
    session.run(v1.global_variables_initializer())
    for _ in range(epochs):
        start = time.perf_counter()
        rng.shuffle(faces)
        for first in range(0, len(faces), batch):  # all eight batches, as the others
            session.run([step, loss], {images: faces[first : first + batch]})
        seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
