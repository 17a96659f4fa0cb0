"""The command line.

cli.py      `rnr`: restore, diagnose, degrade, agent, records   train_cli.py  `rnr train`, `rnr data`
explain_cli.py  `rnr explain`, `rnr intervene`                  options.py    options that several commands have
console.py  tables, progress and complaints in a terminal       asking.py     questions of the agent to a person
"""
