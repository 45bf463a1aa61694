"""The official Anthropic SDK against a server: every reply and event goes through its own types.

    python anthropic_sdk.py http://127.0.0.1:8000 [KEY]

The server speaks by the script of `tests/server/sdk.rs`, or of `examples/scripted.rs`.
"""

import sys

import anthropic
from anthropic import Anthropic

base, key = sys.argv[1], (sys.argv + ["none"])[2]
client = Anthropic(base_url=base, api_key=key, max_retries=0, timeout=60)

WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def whole():
    reply = client.messages.create(
        model="m",
        max_tokens=100,
        thinking={"type": "disabled"},
        messages=[{"role": "user", "content": "say hello"}],
    )
    assert [block.type for block in reply.content] == ["text"], reply
    assert reply.content[0].text == "Hello there."
    assert reply.stop_reason == "end_turn"
    assert reply.usage.output_tokens > 0


def round_trip():
    """The SDK's own accumulation of a stream; then the results, with everything it kept."""
    asked = [{"role": "user", "content": "weather?"}]
    with client.messages.stream(model="m", max_tokens=200, messages=asked, tools=[WEATHER]) as stream:
        kinds = {event.type for event in stream}
        first = stream.get_final_message()
    assert {"message_start", "content_block_stop", "message_stop"} <= kinds, kinds
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use"], first
    assert first.content[0].thinking == "I look." and first.content[0].signature
    assert first.content[2].input == {"city": "Rome"}
    assert first.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": first.content[2].id, "content": "22C"}
    history = asked + [
        {"role": "assistant", "content": [block.model_dump() for block in first.content]},
        {"role": "user", "content": [result]},
    ]
    counted = client.messages.count_tokens(model="m", messages=history, tools=[WEATHER])
    second = client.messages.create(model="m", max_tokens=200, messages=history, tools=[WEATHER])
    assert second.content[-1].text == "It is warm.", second
    assert second.usage.cache_read_input_tokens > 20, second.usage
    assert counted.input_tokens == second.usage.input_tokens + second.usage.cache_read_input_tokens


def errors():
    try:
        client.messages.create(
            model="m", max_tokens=10, messages=[{"role": "user", "content": "x y " * 5000}]
        )
    except anthropic.BadRequestError as error:
        assert "prompt is too long: " in str(error), error
    else:
        raise AssertionError("too long a prompt was taken")


def models():
    page = client.models.list()
    assert page.data[0].type == "model" and not page.has_more
    assert client.models.retrieve("anything").id == "anything"


def cancel():
    with client.messages.stream(
        model="m", max_tokens=4000, messages=[{"role": "user", "content": "go on for long"}]
    ) as stream:
        next(iter(stream))


CASES = [whole, round_trip, errors, models, cancel]
for case in CASES:
    case()
print(f"anthropic {anthropic.__version__}: {len(CASES)} cases passed")
