"""The command line.

cli.py          `rnr`: restore, diagnose, degrade, agent     train_cli.py  `rnr train`, `rnr data`
explain_cli.py  `rnr explain`, `rnr intervene`, `rnr records`  options.py    options that several commands have
serve_cli.py    `rnr serve`, `rnr mcp`                        view_cli.py   `rnr view`, `rnr gallery`
tables.py       diagnoses in a terminal                       asking.py     questions of the agent to a person
weights_cli.py  `rnr weights`
hostile_files.py  seeded hostile files through `rnr restore`
"""
