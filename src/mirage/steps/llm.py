"""`type: llm`: a prompt that a model answers, and the answer as text or as a checked object."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from mirage.errors import MediaError, ParseError
from mirage.media import picture
from mirage.record import Completion, Image, Message, Part, Picture, Request
from mirage.steps.choices import Choices, chosen
from mirage.steps.reply import JSONReply, PlainReply, check_finished
from mirage.steps.step import Scope
from mirage.template import Template


class Wording(Struct, frozen=True):
    """The texts about format that go to the model; see `recipes/structured.yaml`."""

    note: str = ""
    again: str = ""
    format: str = ""


class LLMStep(Struct, frozen=True):
    """One question to a model for each record.

    `turns` are (role, template) pairs, the prompt last; `images` the inputs whose pictures stand
    before the prompt's text, because no turn mentions them; `sends` all that must be in a request,
    unless they are null. With `choices` the model says which
    of them is the likeliest answer, instead of writing one.
    """

    name: str
    engine: str
    model: str
    turns: tuple[tuple[str, Template], ...]
    images: tuple[str, ...]
    sampling: Mapping[str, Any]
    seed: int
    reply: PlainReply | JSONReply
    structured: str
    max_asks: int
    wording: Wording = field(default_factory=Wording)
    choices: Choices | None = None
    sends: tuple[str, ...] = ()
    journalled: bool = True

    @property
    def needs(self) -> frozenset[str]:
        return self.recalls.union(self.images, *(template.needs for _, template in self.turns))

    @property
    def recalls(self) -> frozenset[str]:
        """The names that `recall` reads."""
        return frozenset() if self.choices is None else self.choices.tree.needs

    @property
    def constrains(self) -> bool:
        """Whether it asks the engine to keep to a schema."""
        return self.reply.schema is not None and self.structured != "prompted"

    async def run(self, scope: Scope) -> Any:
        request = await self.request(scope)
        if request.choices:
            value = chosen(await scope.complete(self.engine, request), request.choices)
            scope.accept(self.name, request.key)
            return value
        if self.structured == "two_pass":
            request = await self._after_free_answer(scope, request)
        for _ in range(self.max_asks):
            completion = await scope.complete(self.engine, request)
            try:
                value = self.parse(completion)
            except ParseError as error:
                problem = error
                if error.kind in ("cut_off", "empty"):
                    break
                request = self._again(request, completion, error)
            else:
                scope.accept(self.name, request.key)
                return value
        problem.attempts = max(problem.attempts, 1)
        raise problem

    async def request(self, scope: Scope) -> Request:
        """The first request for this record: rendered turns, pictures, schema, draw, choices."""
        greedy = self.choices is not None or not self.sampling.get("temperature")
        return Request(
            model=self.model,
            messages=await self._messages(scope),
            sampling=self.sampling,
            schema=self._schema(scope) if self.structured == "constrained" else None,
            draw="" if greedy else f"{self.seed}/{scope.place}/{scope.child}/{self.name}/0",
            ask=scope.asks.get(self.name, 0),
            choices=() if self.choices is None else self.choices.of(scope.values),
        )

    def parse(self, completion: Completion) -> Any:
        check_finished(completion)
        return self.reply.parse(completion.text)

    def recall(self, completion: Completion, values: Mapping[str, Any]) -> Any:
        if self.choices is not None:
            return chosen(completion, self.choices.of(values))
        return self.reply.read(completion.text)

    def _schema(self, scope: Scope) -> Mapping[str, Any] | None:
        return self.reply.schema if scope.abilities(self.engine).schema else None

    async def _messages(self, scope: Scope) -> tuple[Message, ...]:
        turns: list[tuple[str, list[Any]]] = [
            (role, list(template.parts(scope.values))) for role, template in self.turns
        ]
        prompt = turns[-1][1]
        prompt[:0] = [scope.values[name] for name in self.images]
        if self.wording.note and self.structured != "two_pass":
            prompt.append(self.wording.note)
        every = [part for _, parts in turns for part in parts]
        if self.sends or any(not isinstance(part, str) for part in every):
            self._check_images(scope, [part for part in flat(every) if isinstance(part, Image)])
        messages = []
        for role, parts in turns:
            try:
                text = "".join(parts)
            except TypeError:
                messages.append(Message(role, await self._pictured(scope, parts)))
            else:
                messages.append(Message(role, (text,)))
        return tuple(messages)

    def _check_images(self, scope: Scope, placed: list[Image]) -> None:
        """Raises MediaError where an image is left out, or there are more than the engine takes.

        Of a list, a prompt may choose: `{photos[0]}`.
        """
        there = {id(image) for image in placed}
        for name in self.sends:
            images = flat([scope.values[name]])
            if images and there.isdisjoint(map(id, images)):
                message = f"the prompt leaves out '{name}', which was to be sent; say `images: []`"
                raise MediaError("left_out", message)
        most = scope.abilities(self.engine).max_images
        if most and len(placed) > most:
            message = f"{len(placed)} images for one request, and the engine takes {most}"
            raise MediaError("too_many", message)

    async def _pictured(self, scope: Scope, parts: list[Any]) -> tuple[Part, ...]:
        """The parts with every image turned into what the engine sees of it."""
        seen: list[Part] = []
        for part in flat(parts):
            if isinstance(part, Image):
                abilities = scope.abilities(self.engine)
                shown: Picture = await asyncio.to_thread(picture, part, abilities)
                seen.append(shown)
            elif seen and isinstance(seen[-1], str):
                seen[-1] += part
            else:
                seen.append(part)
        return tuple(seen)

    async def _after_free_answer(self, scope: Scope, request: Request) -> Request:
        """`two_pass`: the model answers freely, and is then asked to write that down as JSON."""
        completion = await scope.complete(self.engine, request)
        check_finished(completion)
        formatted = request.followed_by(
            Message("assistant", (completion.text,)),
            Message("user", (self.wording.format + self.wording.note,)),
        )
        return formatted.with_schema(self._schema(scope))

    def _again(self, request: Request, completion: Completion, error: ParseError) -> Request:
        return request.followed_by(
            Message("assistant", (completion.text,)),
            Message("user", (self.wording.again.replace("{problem}", error.message),)),
        )


def flat(parts: list[Any]) -> list[Any]:
    """Lists of images spread out; an optional image that is null is not sent."""
    spread: list[Any] = []
    for part in parts:
        if isinstance(part, list | tuple):
            spread.extend(flat(list(part)))
        elif part is not None:
            spread.append(part)
    return spread
