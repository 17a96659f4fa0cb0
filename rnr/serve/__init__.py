"""The service: REST (`rnr serve`) and MCP (`rnr mcp`) over one pool of worker processes.

    settings.py   limits, models, API keys: what is decided before anything starts
    work.py       the tasks: bytes in, record and bytes out; runs in a worker
    worker.py     the process that loads the models once and does one task after another
    pool.py       the processes seen from the front: places, deadlines, cancellation, replacement
    door.py       what every request passes: key, size, place in the queue, log line, metrics
    http.py       the endpoints            mcp.py       the same tasks as MCP tools

The front never decodes an image and never loads torch; a worker never hears of a path that a client named.
"""
