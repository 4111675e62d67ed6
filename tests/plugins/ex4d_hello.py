"""A command of another package."""


def hello(name: str = "you") -> None:
    """Say hello."""
    print(f"Hello, {name}.")
