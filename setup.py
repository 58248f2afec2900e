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
    package_data={"dreal_tf.reporting": ["*.jinja"]},
    # Lower bounds are the versions that were tried.
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "keras-tuner>=1.4.8,<1.5",
        "numpy>=2.0",
        "tensorboard>=2.20",
        "tensorflow-datasets>=4.9.10",
        "importlib-resources>=6",  # tensorflow-datasets 4.9.10 needs it to prepare data sets.
        "scikit-learn>=1.9",
        "h5py>=3.14",
        "scipy>=1.17",
        "matplotlib>=3.11",
        "jinja2>=3.1.6",
        "pydantic>=2.14,<3",
        "typer>=0.29",
        "rich>=14",
        "wrapt>=2",
        "filelock>=3.16",
        "psutil>=6",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        # timm itself would bring the CUDA build of PyTorch: install it with --no-deps.
        "timm": ["torch==2.13.0", "pyyaml>=6", "safetensors>=0.8"],
        "onnx": ["onnx>=1.23", "tf2onnx>=1.17", "onnxruntime>=1.32"],
        "search": ["faiss-cpu>=1.15"],
        "weights": ["safetensors>=0.8"],
        # Selenium drives the browser that opens reports; Chromium itself comes from the system.
        "test": [
            "pytest>=9",
            "pytest-xdist>=3.8",
            "hypothesis>=6",
            "pillow>=11",
            "safetensors>=0.8",
            "selenium>=4.51",
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
