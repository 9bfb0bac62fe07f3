# The app and the command line, without GPU. For a GPU, pass the index of torch's build for your CUDA:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 -t pairtrace .
FROM python:3.12-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN useradd --create-home --uid 10001 pairtrace
WORKDIR /app
COPY pyproject.toml README.md LICENSE app.py ./
COPY core core
COPY pages pages
COPY benchmarks benchmarks
COPY assets assets
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.6,<2.14" \
    && pip install --no-cache-dir --editable ".[team]" \
    && mkdir /workspace && chown pairtrace /workspace

USER pairtrace
ENV PAIRTRACE_WORKSPACE=/workspace PAIRTRACE_ROOTS=/workspace:/data
VOLUME /workspace
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD \
    python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"
# Jobs outlive the page but not the container: stop it between steps, or resume them afterwards.
CMD ["pairtrace", "app", "--address", "0.0.0.0"]
