"""The operator's word from the command line: `steering override add | list | remove`.

`reach` says which override decides where, `shelf` is the directory they lie in, `text` tells
what is and what will be, `command` asks first and then does it.
"""
