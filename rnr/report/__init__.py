"""What people read of a result: one HTML file that needs no network.

plain.py     the report of `rnr restore`: pages, tables, the parts that all reports share
agent.py     the report of `rnr agent`: a run step by step
thoughts.py  a record in words and rows: findings, changes, the chain of thought
templates/   HTML, style and script
"""
