"""Where a Python file can be changed: operators on its syntax tree, written back into the text they came from.

mutmut cannot do it here: it runs a test suite for each mutant in a copy of a package whose folder bears its name,
while ours install under other names, and it has no way to ask a model about rows instead of tests.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

from .mutant import Mutant, from_change, number

_COMPARES: dict[type[ast.cmpop], tuple[tuple[str, str], ...]] = {
    ast.Lt: (("<=", "bound"), (">=", "swap-branch")),
    ast.LtE: (("<", "bound"), (">", "swap-branch")),
    ast.Gt: ((">=", "bound"), ("<=", "swap-branch")),
    ast.GtE: ((">", "bound"), ("<", "swap-branch")),
    ast.Eq: (("!=", "swap-branch"),),
    ast.NotEq: (("==", "swap-branch"),),
    ast.In: (("not in", "swap-branch"),),
    ast.NotIn: (("in", "swap-branch"),),
    ast.Is: (("is not", "swap-branch"),),
    ast.IsNot: (("is", "swap-branch"),),
}
_WORDS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
}  # fmt: skip
_SWAPPED = {
    "+": "-", "-": "+", "*": "//", "/": "*", "//": "*", "%": "//", "**": "*", "<<": ">>", ">>": "<<", "&": "|",
    "|": "&", "^": "|",
}  # fmt: skip


@dataclass(slots=True)
class _Text:
    """A source with the places of its syntax tree as offsets."""

    text: str
    starts: list[int]

    @classmethod
    def of(cls, text: str) -> _Text:
        starts = [0]
        for line in text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return cls(text, starts)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """The range of a node; columns are bytes in UTF-8."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        start = self.starts[line - 1]
        whole = self.text[start : self.starts[line]]
        return start + len(whole.encode()[:column].decode())

    def of_node(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.text[start:end]


_Change = tuple[int, int, str, str]


def python_mutants(tower: str, file: str, text: str) -> list[Mutant]:
    """All changes that the operators make to a Python file."""
    source = _Text.of(text)
    found = []
    for name, node in _walk(ast.parse(text), ""):
        for start, end, replacement, operator in _changes(source, node):
            found.append(from_change(tower, file, name, text, start, end, replacement, operator))
    return number(found)


def _walk(node: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node that says what is done (no annotations, no docstrings), with the function or class it stands in."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        name = f"{name}.{node.name}".lstrip(".")
    yield name, node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_comment", "decorator_list", "bases", "type_params"):
            continue
        if isinstance(node, ast.AnnAssign) and field == "target":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_quiet(child):
                yield from _walk(child, name)


def _is_quiet(node: ast.AST) -> bool:
    """Docstrings, imports, and what only type checkers read."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        # A list of names for `import *`, or of attributes: what they leave out is found by other tools.
        return node.targets[0].id in ("__all__", "__slots__")
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr))


def _changes(source: _Text, node: ast.AST) -> Iterator[_Change]:
    if isinstance(node, ast.Compare):
        yield from _compares(source, node)
    elif isinstance(node, ast.BinOp):
        yield from _operator(source, node.left, node.right, _WORDS.get(type(node.op), ""))
    elif isinstance(node, ast.BoolOp):
        yield from _logic(source, node)
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.UAdd):
        yield *source.span(node), f"({source.of_node(node.operand)})", "negation"
    elif isinstance(node, ast.Constant):
        yield from _constant(source, node)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        test = source.of_node(node.test)
        yield *source.span(node.test), f"(not ({test}))", "swap-branch"
        if not isinstance(node, ast.While):
            yield *source.span(node.test), f"(({test}) and False)", "never"
            yield *source.span(node.test), f"(({test}) or True)", "always"
    elif isinstance(node, ast.AugAssign):
        yield *source.span(node), "pass", "dropped-counter"
        word = _WORDS.get(type(node.op), "")
        target, value = source.of_node(node.target), source.of_node(node.value)
        if word in _SWAPPED:
            yield *source.span(node), f"{target} {_SWAPPED[word]}= {value}", "arithmetic"
        yield *source.span(node), f"{target} = {value}", "assignment"
    elif isinstance(node, (ast.Assign, ast.Expr, ast.Delete, ast.Break, ast.Continue, ast.Raise)):
        yield *source.span(node), "pass", "dropped-statement"
    elif isinstance(node, ast.Return) and node.value is not None:
        if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield *source.span(node.value), "None", "wrong-return"
    elif isinstance(node, ast.Call):
        yield from _call(source, node)


def _compares(source: _Text, node: ast.Compare) -> Iterator[_Change]:
    left: ast.expr = node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        start, end = source.span(left)[1], source.span(right)[0]
        between = source.text[start:end]
        for other, kind in _COMPARES[type(operator)]:
            # Brackets between the operands belong to one of them.
            opening, closing = between.count(")"), between.count("(")
            yield start, end, ")" * opening + f" {other} " + "(" * closing, kind
        left = right


def _operator(source: _Text, left: ast.expr, right: ast.expr, word: str) -> Iterator[_Change]:
    if word not in _SWAPPED or (isinstance(left, ast.Constant) and isinstance(left.value, str)):
        return
    start, end = source.span(left)[1], source.span(right)[0]
    between = source.text[start:end]
    yield start, end, between.replace(word, _SWAPPED[word], 1), "arithmetic"


def _logic(source: _Text, node: ast.BoolOp) -> Iterator[_Change]:
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    for left, right in zip(node.values, node.values[1:], strict=False):
        start, end = source.span(left)[1], source.span(right)[0]
        yield start, end, source.text[start:end].replace(word, other, 1), "logic"
    for value in node.values:
        neutral = "True" if word == "and" else "False"
        yield *source.span(value), neutral, "dropped-condition"


def _constant(source: _Text, node: ast.Constant) -> Iterator[_Change]:
    value = node.value
    if isinstance(value, bool):
        yield *source.span(node), str(not value), "wrong-constant"
    elif isinstance(value, int):
        yield *source.span(node), f"({source.of_node(node)} + 1)", "off-by-one"
        if value:
            yield *source.span(node), f"({source.of_node(node)} - 1)", "off-by-one"
    elif isinstance(value, float):
        yield *source.span(node), f"({source.of_node(node)} + 1.0)", "off-by-one"


def _call(source: _Text, node: ast.Call) -> Iterator[_Change]:
    if isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
        yield *source.span(node.func), "max" if node.func.id == "min" else "min", "wrong-function"
    for left, right in zip(node.args, node.args[1:], strict=False):
        if isinstance(left, ast.Starred) or isinstance(right, ast.Starred):
            continue
        one, two = source.of_node(left), source.of_node(right)
        if one != two:
            start, end = source.span(left)[0], source.span(right)[1]
            yield start, end, f"{two}, {one}", "swapped-arguments"


def python_digest(text: str, file: str) -> str:
    """What a source compiles to, without places and docstrings; empty when it does not compile."""
    try:
        code = compile(text, file, "exec", optimize=2)
    except (SyntaxError, ValueError):
        return ""
    return repr(_shape(code))


def _shape(code: CodeType) -> tuple[object, ...]:
    constants = tuple(
        _shape(one) if isinstance(one, CodeType) else (type(one).__name__, repr(one)) for one in code.co_consts
    )
    return (
        code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount,
        code.co_kwonlyargcount, code.co_exceptiontable,
    )  # fmt: skip
