"""The official Python SDKs against a server: what they make of its replies, and whether every body
and every event is of their types. Run by ./run; DS4_URL names the server."""

import json
import os
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anthropic
import openai
from anthropic.types import ErrorResponse, Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

URL = os.environ["DS4_URL"]
ASK = "What is the weather in Paris and Oslo?"
RESULTS = {"Paris": "18 degrees", 'Oslo "north"\n': "7 degrees"}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
oai = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0, timeout=600)
ant = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0, timeout=600)


def idle():
    """Waits until the server does nothing any more."""
    end = time.time() + 60
    while json.load(urlopen(f"{URL}/health"))["running"]:
        assert time.time() < end, "a request goes on although its client has gone"
        time.sleep(0.05)


def post(path, body):
    return urlopen(Request(f"{URL}{path}", json.dumps(body).encode()), timeout=600)


def raw(path, body, whole, event):
    """Every body and event, validated as strictly as the SDK's types allow."""
    TypeAdapter(whole).validate_python(json.load(post(path, body)))
    adapter, seen = TypeAdapter(event), 0
    for line in post(path, {**body, "stream": True}):
        if line.startswith(b"data: ") and line != b"data: [DONE]\n":
            data = json.loads(line[6:])
            # A sign of life, which the SDK drops before its types.
            if data != {"type": "ping"}:
                adapter.validate_python(data)
            seen += 1
    assert seen > 5, seen


def chat():
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
    history = [{"role": "user", "content": ASK}]
    body = {"model": "m", "messages": history, "tools": [tool]}
    raw("/v1/chat/completions", {**body, "logprobs": True, "top_logprobs": 2}, ChatCompletion, ChatCompletionChunk)
    with oai.chat.completions.stream(**body, stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        first = stream.get_final_completion()
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls", choice
    assert choice.message.content == "I look it up.", choice
    calls = choice.message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [
        {"city": "Paris"}, {"city": 'Oslo "north"\n', "days": 3}], calls
    history.append(choice.message.model_dump(exclude_none=True, exclude={"parsed"}))
    for call in history[-1]["tool_calls"]:
        call["function"].pop("parsed_arguments", None)
    for call in calls:
        city = json.loads(call.function.arguments)["city"]
        history.append({"role": "tool", "tool_call_id": call.id, "content": RESULTS[city]})
    second = oai.chat.completions.create(**body)
    assert second.choices[0].message.content == "Paris 18, Oslo 7.", second
    assert second.choices[0].message.reasoning_content == "Both are known.", second
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert cached >= first.usage.prompt_tokens, (cached, first.usage)
    story = [{"role": "user", "content": "A long story"}]
    with oai.chat.completions.create(model="m", messages=story, stream=True) as stream:
        leave(chunk.choices[0].delta.content for chunk in stream)
    idle()
    overflow(lambda text: oai.chat.completions.create(
        model="m", messages=[{"role": "user", "content": text}]), openai.BadRequestError, "context_length_exceeded")


def responses():
    tool = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
    body = {"model": "m", "input": ASK, "tools": [tool],
            "reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    raw("/v1/responses", body, Response, ResponseStreamEvent)
    custom = {"type": "custom", "name": "patch", "description": "Changes files"}
    raw("/v1/responses", {**body, "input": "Use the custom tool", "tools": [custom]}, Response, ResponseStreamEvent)
    raw("/v1/responses", {**body, "max_output_tokens": 2}, Response, ResponseStreamEvent)
    raw("/v1/responses", {**body, "top_logprobs": 2, "include": ["message.output_text.logprobs"]},
        Response, ResponseStreamEvent)
    with oai.responses.stream(**body) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    assert "response.reasoning_summary_text.delta" in kinds, kinds
    calls = [item for item in first.output if item.type == "function_call"]
    assert len(calls) == 2 and first.output_text == "I look it up.", first
    results = [{"type": "function_call_output", "call_id": call.call_id,
                "output": RESULTS[json.loads(call.arguments)["city"]]} for call in calls]
    follow = {**body, "previous_response_id": first.id, "input": results}
    second = oai.responses.create(**follow)
    assert second.output_text == "Paris 18, Oslo 7.", second
    assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens, second.usage
    # The whole history instead, as agents send it that keep nothing on the server.
    items = [item.model_dump(exclude_none=True) for item in first.output]
    for item in items:
        item.pop("parsed_arguments", None)
    again = oai.responses.create(**{**body, "input": [{"role": "user", "content": ASK}, *items, *results]})
    assert again.output_text == "Paris 18, Oslo 7.", again
    assert again.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens, again.usage
    with oai.responses.create(model="m", input="A long story", stream=True) as stream:
        leave(event.delta for event in stream if event.type == "response.output_text.delta")
    idle()
    overflow(lambda text: oai.responses.create(model="m", input=text),
             openai.BadRequestError, "context_length_exceeded")


def messages():
    tool = {"name": "get_weather", "input_schema": SCHEMA}
    history = [{"role": "user", "content": ASK}]
    body = {"model": "m", "max_tokens": 1000, "messages": history, "tools": [tool]}
    raw("/v1/messages", body, Message, RawMessageStreamEvent)
    raw("/v1/messages", {**body, "max_tokens": 2}, Message, RawMessageStreamEvent)
    raw("/v1/messages", {**body, "stop_sequences": ["look"]}, Message, RawMessageStreamEvent)
    counted = post("/v1/messages/count_tokens", {"model": "m", "messages": history})
    TypeAdapter(MessageTokensCount).validate_python(json.load(counted))
    try:
        post("/v1/messages", {"messages": 1})
    except HTTPError as refused:
        TypeAdapter(ErrorResponse).validate_python(json.load(refused))
    else:
        raise AssertionError("messages that are none were taken")
    with ant.messages.stream(**body) as stream:
        for _ in stream:
            pass
        first = stream.get_final_message()
    assert first.stop_reason == "tool_use", first
    kinds = [block.type for block in first.content]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"], kinds
    assert first.content[0].thinking == "Two cities, two calls." and first.content[0].signature
    assert first.content[3].input == {"city": 'Oslo "north"\n', "days": 3}, first
    history.append({"role": "assistant", "content": first.content})
    history.append({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": block.id, "content": RESULTS[block.input["city"]]}
        for block in first.content[2:]]})
    second = ant.messages.create(**body)
    assert second.content[-1].text == "Paris 18, Oslo 7.", second
    before = first.usage.input_tokens + first.usage.cache_read_input_tokens
    assert second.usage.cache_read_input_tokens >= before, (first.usage, second.usage)
    counted = ant.messages.count_tokens(model="m", messages=history, tools=[tool]).input_tokens
    assert counted == second.usage.input_tokens + second.usage.cache_read_input_tokens, counted
    with ant.messages.stream(model="m", max_tokens=10000,
                             messages=[{"role": "user", "content": "A long story"}]) as stream:
        leave(stream.text_stream)
    idle()
    overflow(lambda text: ant.messages.create(
        model="m", max_tokens=10, messages=[{"role": "user", "content": text}]),
        anthropic.BadRequestError, "prompt is too long: ")


def completions():
    body = {"model": "m", "prompt": "Once upon", "max_tokens": 5, "logprobs": 2}
    TypeAdapter(Completion).validate_python(json.load(post("/v1/completions", body)))
    # The type says that every event has ended, as none of its vendor's but the last one has.
    with oai.completions.create(**body, stream=True) as stream:
        events = list(stream)
    assert all(event.object == "text_completion" for event in events), events
    assert events[-1].choices[0].finish_reason, events
    text = oai.completions.create(**body).choices[0].text
    assert text == "".join(event.choices[0].text for event in events), (text, events)


def leave(parts):
    """Listens to the beginning of a long answer."""
    text = ""
    for part in parts:
        text += part or ""
        if len(text) > 40:
            break
    assert text.startswith("word0 word1 ") and len(text) < 4000, text


def overflow(ask, error, words):
    try:
        ask("too much " * 30000)
    except error as refused:
        assert words in f"{refused.code if hasattr(refused, 'code') else ''} {refused}", refused
    else:
        raise AssertionError("a prompt that is too long was taken")


def models():
    for model in json.load(urlopen(f"{URL}/v1/models"))["data"]:
        TypeAdapter(Model).validate_python(model)
        TypeAdapter(ModelInfo).validate_python(model)
    found = oai.models.list().data
    assert len(found) == 1, found
    assert oai.models.retrieve(found[0].id).id == found[0].id
    assert ant.models.list().data[0].id == found[0].id


for test in (models, completions, chat, responses, messages):
    begun = time.time()
    test()
    print(f"ok      Python, {test.__name__} ({time.time() - begun:.1f} s)", flush=True)
