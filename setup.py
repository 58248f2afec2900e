from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "dreal_tf" / "__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

setup(
    name="dreal-tf",
    version=VERSION,
    description="Deep reinforced attention learning for Keras: attention modules taught by critics.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # The recipes lie at the top of the repository and travel with the wheel, inside the package.
    packages=[
        *find_packages(include=["dreal_tf", "dreal_tf.*"]),
        "dreal_tf.recipes",
        "dreal_tf.recipes.studies",
        "dreal_tf.recipes.spaces",
    ],
    package_dir={"dreal_tf.recipes": "recipes"},
    package_data={"dreal_tf": ["py.typed", "*.pyi"], "dreal_tf.analysis.report": ["*.jinja"]},
    # The lowest versions that the tests pass on: tools/test_versions.
    install_requires=[
        "tensorflow>=2.18",
        "keras>=3.10",
        "keras-tuner>=1.4.7",
        "numpy>=1.26",
        "numpy>=2.1; python_version >= '3.13'",  # The first with wheels.
        "tensorboard>=2.18",
        "tensorflow-datasets>=4.9.7",
        "importlib-resources>=6.4",  # tensorflow-datasets needs it to prepare data sets.
        "tensorflow-metadata>=1.16.1,<1.18",  # Later ones fail beside the protobuf of TensorFlow 2.18 and 2.19.
        "scikit-learn>=1.5.2",
        "h5py>=3.12.1",
        "scipy>=1.14.1",
        "pandas>=2.2.3",
        "matplotlib>=3.9.2",
        "jinja2>=3.1.4",
        "pydantic>=2.9,<3",
        "typer>=0.15.4",  # Earlier ones admit a click that they do not work with.
        "rich>=13.9.4",
        "filelock>=3.16",
        "psutil>=6",
        "pillow>=11",
        "simplejpeg>=1.8.1",  # Tells of holes in a JPEG, which TensorFlow and Pillow pass over.
        "wrapt>=1.17",
        "lazy-loader>=0.4",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.18"],
        # timm itself would bring the CUDA build of PyTorch: install it with --no-deps.
        "timm": ["torch>=2.5", "pyyaml>=6", "safetensors>=0.4.5"],
        "onnx": ["onnx>=1.17", "tf2onnx>=1.16.1", "onnxruntime>=1.20"],
        "search": ["faiss-cpu>=1.9"],
        "weights": ["safetensors>=0.4.5"],
        # Selenium drives the browser that opens reports; Chromium itself comes from the system.
        "test": [
            "pytest>=8.3",
            "pytest-xdist>=3.8",
            "hypothesis>=6.115",
            "mypy>=1.13",
            "griffe>=1.5",
            "safetensors>=0.4.5",
            "selenium>=4.26",
        ],
    },
    entry_points={"console_scripts": ["dreal-tf=dreal_tf.cli.main:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
