"""What the commands do.

models.py       the reasoner and the restorer of a command, loaded when first used
request.py      how a picture is to be restored; a diagnosis that somebody gives
restoring.py    one picture: diagnose, restore, diagnose again
each.py         every picture of files and folders, once, with progress
diagnosing.py   records of many pictures           degrading.py  damage on purpose
batch.py        many pictures, here or in threads  cluster.py    the same by Ray
plain_worker.py  what `rnr restore` does with each  agent_worker.py  what `rnr agent` does with each
agents.py       the agent's folder and one picture through it
naming.py       which result gets which name       outputs.py    results written whole, or not at all
training.py     the trainings behind one line of progress
console.py      progress and complaints in a terminal
"""
