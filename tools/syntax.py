"""Read Python code for what it means: its syntax tree, and the names in it."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress


def plain_python(source: str) -> str:
    """Turn IPython's own lines (`%pip`, `!ls`) into strings, so that `ast` can read."""
    with suppress(SyntaxError):
        ast.parse(source)
        return source
    lines = []
    for line in source.splitlines():
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        lines.append(f"{indent}{bare!r}" if bare.startswith(("%", "!")) else line)
    return "\n".join(lines)


class Plain(ast.NodeTransformer):
    """Takes away what means nothing when code runs: docstrings and hints."""

    in_class = False  # there a hint may make a dataclass's field

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Drop a module's docstring."""
        node.body = without_docstring(node.body)
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Drop a function's docstring, and the hints of its arguments and result."""
        around, self.in_class = self.in_class, False
        node.body = without_docstring(node.body) or [ast.Pass()]
        node.returns = None
        self.generic_visit(node)
        self.in_class = around
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        """Drop a class's docstring."""
        around, self.in_class = self.in_class, True
        node.body = without_docstring(node.body) or [ast.Pass()]
        self.generic_visit(node)
        self.in_class = around
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop the hint of an argument."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign | ast.Assign:
        """Drop the hint of a variable that gets a value."""
        self.generic_visit(node)
        if self.in_class or node.value is None:
            return node
        return ast.Assign(targets=[node.target], value=node.value)


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """Drop the string that a body begins with."""
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return body[1:] if isinstance(first.value.value, str) else body
    return body


def meaning(node: object) -> str:
    """Write a syntax tree in words that all versions of Python share.

    `ast.dump` will not do: it writes empty fields in some versions, not in others.
    """
    if isinstance(node, ast.Constant):
        return ascii(node.value)
    if isinstance(node, ast.AST):
        fields = [
            f"{name}={meaning(value)}"
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and not isinstance(value, ast.expr_context)
        ]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(meaning, node))}]"
    return repr(node)


def dotted_names(node: ast.AST) -> Iterator[str]:
    """Find the names that some code reads, with what follows their dots."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute) and (whole := dotted(node)):
        yield whole
    else:
        for child in ast.iter_child_nodes(node):
            yield from dotted_names(child)


def dotted(node: ast.expr) -> str:
    """Write `a.b.c`; empty for what does not begin with a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def words(node: ast.AST) -> set[str]:
    """Find the words in a tree's strings: among them are the names of files."""
    strings = [
        child.value
        for child in ast.walk(node)
        if isinstance(child, ast.Constant) and isinstance(child.value, str)
    ]
    return set(re.findall(r"[\w.-]+", "\n".join(strings)))


def imports(node: ast.AST, module: str = "") -> Iterator[tuple[str, str]]:
    """Find what a tree imports, anywhere in it: the name, and what it stands for.

    Args:
        node: the tree.
        module: the module that it stands in, for relative imports.
    """
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, alias.name if alias.asname else top
                yield "", alias.name  # it is run, by whatever name it goes
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                above = module.split(".")[: 1 - child.level or None]
                base = ".".join([*above, base]).rstrip(".")
            for alias in child.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}"


def defined_names(statement: ast.stmt) -> list[str]:
    """Name what a statement defines, if it does nothing else."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return []
    names = []
    for target in targets:
        for part in target.elts if isinstance(target, ast.Tuple) else [target]:
            if not isinstance(part, ast.Name):
                return []
            names.append(part.id)
    return names
