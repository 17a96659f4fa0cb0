"""`rnr view`: diagnoses in a browser, by the hundred.

    sources.py   folders of records, an agent's store, rl runs -> items (items.py); tables.py: jsonl, json, parquet
    facts.py     a raw record -> the few numbers that the table sorts and filters by
    library.py   all runs, found again when files change; data/rows.js
    finder.py    which picture files may be read, and which file a record speaks of
    pictures.py  pictures as a browser shows them: thumbnails, the models' views, crops of sheets
    chain.py     the chain of thought: each chosen token with its confidence and alternatives
    pages.py     the templates; record_page.py: everything that the page of one record shows
    notes.py     notes and labels of people, appended to one file beside the run
    again.py     an edited severity, restored again
    guard.py     who may ask: Host, key, headers
    server.py    the routes        export.py  the same pages as a folder
    records.py   records as jsonl, parquet, a data set, a log of inspect_ai (inspect_log.py)

The browser's half is in static/: ES modules without a build step. Nothing is loaded from a network.
"""
