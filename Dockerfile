# A base to build an application's image on:  FROM shardserve;  COPY . /app;  CMD ["myapp:app"]
# The full image has the C compiler that the hot path wants; the slim one, in which it then runs, has none.
FROM python:3.13 AS build
COPY . /src
RUN SHARDSERVE_COMPILED=1 pip install --no-cache-dir --prefix=/install /src

FROM python:3.13-slim
COPY --from=build /install /usr/local
RUN useradd --system --create-home --home-dir /app --uid 10001 app
WORKDIR /app
USER app
# PORT makes it listen on every address of the container; WEB_CONCURRENCY and SHARDSERVE_* set the rest.
ENV PORT=8000 PYTHONUNBUFFERED=1
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["shardserve"]
CMD ["shardserve.demo:app"]
