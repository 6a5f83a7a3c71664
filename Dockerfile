# exmail-bot in one process: SQLite in the volume, or PostgreSQL by BOT_DATABASE_URL. Settings come by environment.
#   docker build -t exmail-bot . && docker run --env-file .env -p 127.0.0.1:8080:8080 -v exmail-bot:/data exmail-bot
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    BOT_DATA_DIR=/data \
    BOT_HOST=0.0.0.0 \
    BOT_PORT=8080

RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin bot \
    && install -d -o bot -g bot -m 700 /data

WORKDIR /app
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY bot ./bot
COPY handlers ./handlers
COPY storage ./storage
RUN pip install --no-deps --no-build-isolation --no-index .

USER bot
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['BOT_PORT'] + '/healthz', timeout=4)"]
CMD ["exmail-bot", "serve"]
