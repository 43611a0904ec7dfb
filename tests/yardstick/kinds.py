class Kinds:
    pass


def of_lines():
    pass
