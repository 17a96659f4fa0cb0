"""`rnr view`: diagnoses in a browser, by the hundred.

    sources.py   folders of records, jsonl, json, parquet, an agent's store, rl runs -> runs of items
    facts.py     a raw record -> the few numbers that the table sorts and filters by
    library.py   all runs, found again when files change; data/rows.js
    finder.py    which picture files may be read, and which file a record speaks of
    pictures.py  pictures as a browser shows them: thumbnails, the models' views, crops of sheets
    chain.py     the chain of thought: each chosen token with its confidence and alternatives
    pages.py     everything that a page shows, and the templates
    notes.py     notes and labels of people, appended to one file beside the run
    again.py     an edited severity, restored again
    guard.py     who may ask: Host, key, headers
    server.py    the routes        export.py  the same pages as a folder        command.py  the options

The browser's half is in static/: ES modules without a build step. Nothing is loaded from a network.
"""
