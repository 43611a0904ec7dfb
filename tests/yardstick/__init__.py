"""What the engine made of facts on one day, turn by turn: a yardstick for rewriting its inside.

`recorded/` has the shipped scenarios, two hundred random stories, and the journal of an agent that
went through an incident in a lab: the facts of each turn, and the steps, plan, events and alarms
that came of them. They are written in plain words (`form`), so that arrays may become values by
name, and types, modules and fields other ones: the same facts have to give the same turns. Where
today's types change, `form` alone follows.

`python -m yardstick compare`, with `tests` on the path, runs all of them (a few minutes);
`tests/unit/project/test_yardstick.py` runs a share of each kind (`share`).
`python -m yardstick kinds` says how often each kind of event, rule and alarm occurs in them.

They are of the engine as it was before the rewrite, and go with its end: what an engine is to make
of facts from then on is for the other tests to say. A change that is *meant* to decide
differently meanwhile records them anew (`python -m yardstick record`), by itself, so that the
rewrite is never held against itself.
"""
