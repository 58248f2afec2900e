# The CPU image; for GPUs build with --build-arg TENSORFLOW=2.21.0-gpu.
ARG TENSORFLOW=2.21.0
FROM tensorflow/tensorflow:${TENSORFLOW}

WORKDIR /opt/dreal_tf
COPY setup.py pyproject.toml README.md LICENSE ./
COPY dreal_tf ./dreal_tf
COPY recipes ./recipes
RUN python -m pip install --no-cache-dir .

# Runs are written to /workspace; mount a folder there to keep them.
RUN useradd --create-home --uid 1000 dreal && mkdir /workspace && chown dreal /workspace
USER 1000
WORKDIR /workspace

ENTRYPOINT ["dreal-tf"]
CMD ["train", "digits_resnet8_se"]
