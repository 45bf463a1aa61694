"""The official OpenAI SDK against a server: every reply and event goes through its own types.

    python openai_sdk.py http://127.0.0.1:8000/v1 [KEY]

The server speaks by the script of `tests/server/sdk.rs`, or of `examples/scripted.rs`.
"""

import json
import sys

import openai
from openai import OpenAI

base, key = sys.argv[1], (sys.argv + ["none"])[2]
client = OpenAI(base_url=base, api_key=key, max_retries=0, timeout=60)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat_whole():
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "say hello"}], reasoning_effort="none"
    )
    assert reply.choices[0].message.content == "Hello there.", reply
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def chat_stream():
    text, usage = "", None
    stream = client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "say hello"}],
        reasoning_effort="none",
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
    assert text == "Hello there.", text
    assert usage.completion_tokens > 0
    # The second time its prompt is there.
    assert usage.prompt_tokens_details.cached_tokens > 0, usage


def chat_helper():
    """The SDK's own accumulation of a stream, with its checks of order and types."""
    with client.chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "weather?"}], tools=[WEATHER]
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds, kinds
    call = final.choices[0].message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Rome"}
    assert final.choices[0].finish_reason == "tool_calls"
    return call


def chat_round_trip():
    call = chat_helper()
    reply = client.chat.completions.create(
        model="m",
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "content": "Looking.", "tool_calls": [call.model_dump()]},
            {"role": "tool", "tool_call_id": call.id, "content": "22C"},
        ],
    )
    assert reply.choices[0].message.content == "It is warm.", reply
    assert reply.usage.prompt_tokens_details.cached_tokens > 20, reply.usage


def chat_logprobs():
    reply = client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "say hello"}],
        reasoning_effort="none",
        logprobs=True,
        top_logprobs=3,
        n=2,
    )
    for choice in reply.choices:
        tokens = choice.logprobs.content
        assert bytes(b for token in tokens for b in token.bytes).decode() == "Hello there."
        assert all(len(token.top_logprobs) == 3 for token in tokens)


def completions():
    reply = client.completions.create(model="m", prompt="Once upon", max_tokens=50)
    assert reply.choices[0].text == " a time.", reply
    text = ""
    for chunk in client.completions.create(model="m", prompt="Once upon", max_tokens=50, stream=True):
        text += chunk.choices[0].text
    assert text == " a time.", text


def responses_round_trip():
    tools = [{"type": "function", "name": "get_weather", "parameters": WEATHER["function"]["parameters"]}]
    with client.responses.stream(
        model="m", input="weather?", tools=tools, reasoning={"summary": "auto"}
    ) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    assert "response.reasoning_summary_text.delta" in kinds, kinds
    calls = [item for item in first.output if item.type == "function_call"]
    assert json.loads(calls[0].arguments) == {"city": "Rome"}
    second = client.responses.create(
        model="m",
        tools=tools,
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": calls[0].call_id, "output": "22C"}],
    )
    assert second.output_text == "It is warm.", second
    assert second.usage.input_tokens_details.cached_tokens > 20, second.usage
    assert client.responses.retrieve(second.id).output_text == "It is warm."


def errors():
    try:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x y " * 5000}])
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded", error
    else:
        raise AssertionError("too long a prompt was taken")
    try:
        client.responses.create(model="m", input="a", previous_response_id="resp_unknown")
    except openai.NotFoundError as error:
        assert error.param == "previous_response_id", error
    else:
        raise AssertionError("an unknown response was found")


def models():
    assert client.models.list().data[0].object == "model"
    assert client.models.retrieve("anything").id == "anything"


def cancel():
    stream = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "go on for long"}], stream=True
    )
    next(iter(stream))
    stream.close()


CASES = [
    chat_whole, chat_stream, chat_round_trip, chat_logprobs, completions, responses_round_trip, errors,
    models, cancel,
]
for case in CASES:
    case()
print(f"openai {openai.__version__}: {len(CASES)} cases passed")
