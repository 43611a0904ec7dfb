"""Notifications: what people or their programs are told of alarms, moves and ended incidents.

`notice` is what there is to tell, `news` finds it turn by turn, `receiver` sends it in a thread of
its own: to a `webhook`, to `alertmanager`, or to a `program`.
"""
