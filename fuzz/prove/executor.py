"""Runs a function of the compiler's IR on symbolic arguments, along every path; what would be undefined is an error.

A value carries the condition under which it is poison (a broken ``nsw``, a shift that is too wide).  Poison may be
computed and thrown away, as in LLVM; it may not be branched on, stored, returned, or used as an address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import z3

from . import operations
from .access import Access, Broken, State, Undecided
from .layout import split_types
from .llvm import Function, Instruction, Module, cut_type, initial_bytes
from .memory import Object, Unsupported
from .operations import Value

STEPS_MAX = 400_000


Answer = Callable[[State, Sequence[z3.BitVecRef]], "z3.BitVecRef | None"]
Environment = dict[str, Value | tuple[Value, ...]]


class Executor(Access):
    """
    One module, one question.

    Args:
        module: the IR.
        stops: functions at whose call a path ends; its arguments are what the property looks at.
        answers: functions that are not entered but answered: from the state and the arguments to a result.
        assumptions: what is known of the arguments.
    """

    def __init__(
        self,
        module: Module,
        *,
        stops: Sequence[str] = (),
        answers: Mapping[str, Answer] | None = None,
        assumptions: Sequence[z3.BoolRef] = (),
    ) -> None:
        self.answers = answers or {}
        self.stops = frozenset({"panic", *stops})
        super().__init__(module, assumptions)
        self._steps = 0
        for name, one in module.globals.items():
            self._add_global(name, one.kind, one.initial if one.is_constant else None)

    def _add_global(self, name: str, kind: str, initial: str | None) -> None:
        try:
            size = self.module.layout.size(kind)
            data = None if initial is None else initial_bytes(self.module.layout, kind, initial)
        except Unsupported:
            return  # nobody looks at it, or looking at it is refused
        made = self.add_object(f"@{name}", size)
        if data is not None:
            made.is_constant = True
            element = self.module.layout.element(kind)
            unit = self.module.layout.size(element) if element else min(8, size)
            for at in range(0, size, unit):
                made.cells[at] = z3.BitVecVal(int.from_bytes(data[at : at + unit], "little"), 8 * unit)

    # ---- running

    def run(self, name: str, arguments: Sequence[z3.BitVecRef]) -> Iterator[tuple[State, z3.BitVecRef | None]]:
        """Every path's end; while one is looked at, the solver knows its conditions."""
        function = self.module.functions[name]
        values = [Value(term) for term in arguments]
        for state, value in self._call(function, values, self.start.copy()):
            if value is None:
                yield state, None
            else:
                assert isinstance(value, Value)
                yield state, self.sound(value, "the result")

    def _call(self, function: Function, arguments: Sequence[Value], state: State) -> Iterator[tuple[State, object]]:
        environment: Environment = {
            name: value for (_, name), value in zip(function.parameters, arguments, strict=True)
        }
        yield from self._walk(function, function.entry, "", 0, environment, state)

    def _walk(
        self, function: Function, block: str, before: str, index: int, environment: Environment, state: State
    ) -> Iterator[tuple[State, object]]:
        while True:
            instructions = function.blocks[block]
            if index == 0:
                index = self._phis(instructions, before, environment)
            while index < len(instructions):
                self._steps += 1
                if self._steps > STEPS_MAX:
                    raise Undecided(f"more than {STEPS_MAX} steps")
                one = instructions[index]
                index += 1
                if one.opcode in ("br", "switch"):
                    break
                if one.opcode == "ret":
                    yield state, None if one.rest == "void" else self._typed(one.rest, environment)
                    return
                if one.opcode == "unreachable":
                    self.check(z3.BoolVal(False), "a place that must not be reached")
                    return
                if one.opcode in ("call", "load", "store"):
                    ways = self._effect(one, environment, state)
                    known: Any = next(ways, None)
                    if known is None:
                        return
                    if known is not _ONE_WAY:
                        yield from self._each_way(known, ways, one, function, block, index, environment)
                        return
                    if state.ended:
                        yield state, None
                        return
                    continue
                if one.opcode == "alloca":
                    environment[one.result] = self.local(split_types(one.rest)[0], state)
                else:
                    environment[one.result] = self._compute(one, environment)
            else:
                raise Unsupported("a block without an end")
            targets = self._targets(one, environment)
            feasible = [(term, to) for term, to in targets if term is None or self.is_feasible(term)]
            if len(feasible) > 1:
                for term, to in feasible:
                    assert term is not None
                    self.solver.push()
                    self.solver.add(term)
                    yield from self._walk(function, to, block, 0, dict(environment), state.copy())
                    self.solver.pop()
                return
            if not feasible:
                return
            block, before, index = feasible[0][1], block, 0

    def _each_way(
        self,
        first: tuple[z3.BoolRef | None, State, object],
        others: Iterator[Any],
        one: Instruction,
        function: Function,
        block: str,
        index: int,
        environment: Environment,
    ) -> Iterator[tuple[State, object]]:
        """Goes on behind a call or an access that has several outcomes."""

        def all_ways() -> Iterator[tuple[z3.BoolRef | None, State, object]]:
            yield first
            yield from others

        for term, state, value in all_ways():
            if term is not None:
                self.solver.push()
                self.solver.add(term)
            if state.ended:
                yield state, None
            else:
                inner = dict(environment)
                if one.result:
                    assert isinstance(value, (Value, tuple))
                    inner[one.result] = value
                yield from self._walk(function, block, "", index, inner, state)
            if term is not None:
                self.solver.pop()

    def _phis(self, instructions: Sequence[Instruction], before: str, environment: Environment) -> int:
        found: Environment = {}
        count = 0
        for one in instructions:
            if one.opcode != "phi":
                break
            kind, _, rest = cut_type(one.rest)
            for value, label in re.findall(r"\[ (.*?), %([\w.$-]+) \]", rest):
                if label == before:
                    found[one.result] = self._value(kind, value, environment)
                    break
            else:
                raise Unsupported(f"a phi without the block {before}")
            count += 1
        environment.update(found)
        return count

    def _targets(self, one: Instruction, environment: Environment) -> list[tuple[z3.BoolRef | None, str]]:
        if one.opcode == "br" and one.rest.startswith("label"):
            return [(None, one.rest.split("%")[1])]
        if one.opcode == "br":
            condition, yes, no = split_types(one.rest)
            term = self.sound(self._single(condition, environment), "a branch's condition")
            return [(term == 1, yes.split("%")[1]), (term == 0, no.split("%")[1])]
        head, _, table = one.rest.partition("[")
        selector, default = split_types(head.strip())
        term = self.sound(self._single(selector, environment), "a switch's value")
        rows = re.findall(r"i\d+ (-?\d+), label %([\w.$-]+)", table)
        cases: list[tuple[z3.BoolRef | None, str]] = [(term == int(value), to) for value, to in rows]
        others = z3.And(*[term != int(value) for value, _ in rows]) if rows else z3.BoolVal(True)
        return [*cases, (others, default.split("%")[1])]

    # ---- values

    def _single(self, text: str, environment: Environment) -> Value:
        value = self._typed(text, environment)
        assert isinstance(value, Value)
        return value

    def _typed(self, text: str, environment: Environment) -> Value | tuple[Value, ...]:
        """A value behind its type; attributes in between are facts of the caller's, not rules of ours."""
        kind, _, rest = cut_type(text)
        if not rest.startswith("getelementptr"):
            rest = rest.rpartition(" ")[2] if " " in rest else rest
        return self._value(kind, rest, environment)

    def _value(self, kind: str, text: str, environment: Environment) -> Value | tuple[Value, ...]:
        if text.startswith("%"):
            return environment[text]
        if text in ("poison", "undef"):
            width = operations.width(kind)
            return Value(z3.BitVecVal(0, width), z3.BoolVal(True))
        if text.startswith("@"):
            return Value(self._object_named(text).base)
        if text == "null":
            return Value(z3.BitVecVal(0, 64))
        if text in ("true", "false"):
            return Value(z3.BitVecVal(int(text == "true"), 1))
        if match := re.match(r"getelementptr (?:inbounds |nuw |nusw )*\((.*)\)$", text):
            return self._address(match[1], environment, frozenset())
        if re.fullmatch(r"-?\d+", text):
            return Value(z3.BitVecVal(int(text), operations.width(kind)))
        raise Unsupported(f"the value {text}")

    def _object_named(self, name: str) -> Object:
        found = self.start.objects.get(name)
        if found is None:
            raise Unsupported(f"the variable {name}")
        return found

    def _compute(self, one: Instruction, environment: Environment) -> Value | tuple[Value, ...]:
        if one.opcode == "getelementptr":
            return self._address(one.rest, environment, one.flags)
        if one.opcode == "extractvalue":
            aggregate, index = split_types(one.rest)
            parts = self._typed(aggregate, environment)
            assert isinstance(parts, tuple)
            return parts[int(index)]
        if one.opcode == "select":
            condition, yes, no = (self._single(part, environment) for part in split_types(one.rest))
            return operations.select(condition, yes, no)
        if one.opcode == "icmp":
            predicate, _, rest = one.rest.partition(" ")
            left, right = split_types(rest)
            kind = cut_type(left)[0]
            first = self._single(left, environment)
            second = self._value(kind, right, environment)
            assert isinstance(second, Value)
            return operations.compare(predicate, first, second)
        if one.opcode in operations.CASTS:
            source, _, kind = one.rest.rpartition(" to ")
            return operations.cast(one.opcode, one.flags, self._single(source, environment), kind)
        if one.opcode == "freeze":
            value = self._single(one.rest, environment)
            if value.poison is None:
                return value
            return Value(z3.If(value.poison, z3.FreshConst(value.term.sort(), "frozen"), value.term))
        if one.opcode in operations.BINARY:
            left, right = split_types(one.rest)
            kind = cut_type(left)[0]
            first, second = self._single(left, environment), self._value(kind, right, environment)
            assert isinstance(second, Value)
            if one.opcode in ("udiv", "urem", "sdiv", "srem"):
                self.check(self.sound(second, "a divisor") != 0, "a divisor is 0")
            return operations.binary(one.opcode, one.flags, first, second)
        raise Unsupported(f"the instruction {one.opcode}")

    # ---- addresses

    def _address(self, text: str, environment: Environment, flags: frozenset[str]) -> Value:
        parts = split_types(text)
        kind = parts[0]
        pointer = self._single(parts[1], environment)
        term, poison = pointer.term, pointer.poison
        for number, part in enumerate(parts[2:]):
            index = self._single(part, environment)
            poison = operations.either(poison, index.poison)
            wide = operations.sign_extend(index.term, 64)
            constant = wide.as_signed_long() if z3.is_bv_value(wide) else None
            if number == 0:
                term = term + wide * self.module.layout.size(kind)
                continue
            kind, step, place = self.module.layout.inside(kind, constant)
            term = term + (wide * step if place is None else z3.BitVecVal(place, 64))
        value = Value(z3.simplify(term), poison)
        if "inbounds" in flags:
            found = self.resolve(value.term)
            if found is None:
                if self.loose_addresses:
                    return value
                raise Unsupported("an address into an object that is not known")
            made, offset = found
            outside = z3.simplify(z3.UGT(offset, made.size_bytes))
            value = Value(value.term, operations.either(value.poison, None if z3.is_false(outside) else outside))
        return value

    def _effect(self, one: Instruction, environment: Environment, state: State) -> Iterator[object]:
        """
        Performs a load, a store or a call.

        Yields:
            ``_ONE_WAY`` when there is one outcome (the environment is changed already); else for each outcome its
            condition, the state behind it, and the value.
        """
        if "facts" in one.flags and one.opcode == "load":
            raise Unsupported("a load with facts about its result")
        if one.opcode == "load":
            rest = re.sub(r"^(atomic|volatile) ", "", one.rest)
            kind, pointer = split_types(re.sub(r" (monotonic|unordered|acquire)", "", rest))[:2]
            outcomes = self.load(kind, self._single(pointer, environment), state)
        elif one.opcode == "store":
            value, pointer = split_types(re.sub(r"^(atomic|volatile) ", "", one.rest))[:2]
            term = self.sound(self._single(value, environment), "a value that is stored")
            outcomes = self.store(term, self._single(pointer, environment), state)
        else:
            outcomes = self._perform_call(one, environment, state)
        for outcome in outcomes:
            if isinstance(outcome, tuple) and len(outcome) == 3 and isinstance(outcome[1], State):
                yield outcome
            else:
                if one.result and not state.ended:
                    assert isinstance(outcome, (Value, tuple))
                    environment[one.result] = outcome
                yield _ONE_WAY
                return

    def _perform_call(self, one: Instruction, environment: Environment, state: State) -> Iterator[object]:
        if " asm " in f" {one.rest}":
            yield self._assembly(one.rest, environment)
            return
        match = re.search(r"@([\w.$]+)\((.*)\)", one.rest)
        if match is None:
            raise Unsupported("a call through a pointer")
        name = match[1]
        if name.startswith(("llvm.lifetime", "llvm.prefetch", "llvm.experimental.noalias")):
            yield None
            return
        arguments = [self._single(part, environment) for part in split_types(match[2])]
        if name in self.answers:
            terms = tuple(self.sound(value, f"an argument of {name}") for value in arguments)
            state.calls.append((name, terms))
            answer = self.answers[name](state, terms)
            yield None if answer is None else Value(answer)
        elif name in self.stops:
            terms = tuple(self.sound(value, f"an argument of {name}") for value in arguments)
            state.calls.append((name, terms))
            state.ended = name
            yield None
        elif name == "llvm.assume":
            self.check(self.sound(arguments[0], "an assumption") == 1, "an assumption of the compiler")
            yield None
        elif name.startswith("llvm.memset"):
            yield from self.memset(arguments, state)
        elif name.startswith("llvm."):
            yield operations.intrinsic(name, arguments)
        elif name in self.module.functions:
            yield from (
                (None, after, value)
                for after, value in self._call(self.module.functions[name], arguments, state.copy())
            )
        else:
            raise Unsupported(f"the function {name}")

    def _assembly(self, text: str, environment: Environment) -> tuple[Value, ...]:
        """The two instructions of core.h: exchange of one bit of a word, and what it was."""
        match = re.search(r'asm "(bts|btr)q \$2, \$0", "=r,=\{@ccc\},r,0,[^"]*"\((.*)\)', text)
        if match is None:
            raise Unsupported("inline assembly that is not known")
        place, word = (self._single(part, environment) for part in split_types(match[2]))
        mask = z3.BitVecVal(1, 64) << (place.term & 63)
        after = word.term | mask if match[1] == "bts" else word.term & ~mask
        before = z3.Extract(0, 0, z3.LShR(word.term, place.term & 63))
        poison = operations.either(place.poison, word.poison)
        return Value(after, poison), Value(z3.ZeroExt(7, before), poison)


_ONE_WAY = object()


__all__ = ["Answer", "Broken", "Executor", "State", "Undecided"]
