# The service. What it runs is what tests/serve/test_deploy.py runs: the install in a fresh environment, the entry
# command, the health check.
#
#   docker build -t rnr .
#   docker run --rm -p 127.0.0.1:8000:8000 -e RNR_API_KEYS=$(openssl rand -hex 24) rnr
FROM python:3.11-slim
WORKDIR /src
COPY . .
RUN python -m pip install --no-cache-dir -c constraints.txt ".[serve]"
RUN useradd --create-home rnr
USER rnr
WORKDIR /home/rnr
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready')"]
ENTRYPOINT ["rnr", "serve"]
CMD ["--host", "0.0.0.0", "--port", "8000", "--workers", "2"]
