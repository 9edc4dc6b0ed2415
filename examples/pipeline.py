"""A saved ensemble as the last step of a scikit-learn pipeline: here for images that are dark on white.

    python examples/pipeline.py mlruns/runs/.../ensemble

The clothes of Fashion-MNIST are bright on black. The first step inverts the images; the ensemble stays as it is saved.
"""

import sys

from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fmnist_bench import load_dataset, load_ensemble

folder, *name = sys.argv[1:]  # and perhaps the data set, where it is not Fashion-MNIST
images = 255 - load_dataset(*name, subset="test").X[:20]  # somebody's photographs: rows of pixels, dark on white

pipeline = make_pipeline(FunctionTransformer(lambda X: 255 - X), load_ensemble(folder))
for label, probabilities in zip(pipeline.predict(images), pipeline.predict_proba(images), strict=True):
    print(f"class {label}, probability {probabilities.max():.3f}")
