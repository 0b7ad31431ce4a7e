# Everything: train, evaluate, pack, export, report. Built in a checkout:
#   docker build -f docker/lab.Dockerfile -t stdo-lab .
FROM python:3.11-slim
WORKDIR /opt/stdo
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY conf conf
RUN pip install --no-cache-dir -c constraints.txt '.[train,demo,tensorboard,wandb]'
RUN useradd --create-home stdo && mkdir /data && chown stdo /data
USER stdo
# Libraries keep caches below the home, which has to be writable for any --user.
ENV HOME=/tmp
WORKDIR /data
CMD ["stdo-train", "--help"]
