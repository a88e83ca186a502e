"""`python -m benchmarks`: what is compared here."""

import ast
from pathlib import Path

from rich.console import Console


def main() -> None:
    """Prints each command with the first line of its description."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        is_command = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in module.body)
        if is_command and path.name != "__main__.py":
            first = ast.get_docstring(module).splitlines()[0]
            Console().print(f"python -m benchmarks.{path.stem}  {first}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
