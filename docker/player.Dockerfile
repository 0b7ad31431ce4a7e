# The player alone: no PyTorch, no Lightning, no Hydra. Built in a checkout:
#   docker build -f docker/player.Dockerfile -t stdo-player .
FROM python:3.11-slim
WORKDIR /opt/stdo
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY conf conf
RUN pip install --no-cache-dir -c constraints.txt .
RUN useradd --create-home stdo && mkdir /data && chown stdo /data
USER stdo
WORKDIR /data
ENTRYPOINT ["stdo-play"]
CMD ["--help"]
