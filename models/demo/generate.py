"""Makes the demo model's conversations, as JSON lines of the encoder's own message form.

    python3 generate.py train --count 1000 --seed 1 [--long 0.1]     # conversations
    python3 generate.py cases --count 300 --seed 900                 # held-out cases with what is expected
    python3 generate.py exam --count 300 --seed 901                  # such cases with their answers, to look at while training
    demo_text pieces < conversations.jsonl | python3 generate.py vocabulary --size 8192 > vocab.json

Standard library only; the same seed makes the same lines everywhere.
"""
import argparse
import heapq
import json
import random
import re
import sys
from collections import Counter, defaultdict

from concepts import CONCEPTS, Tool
from words import CITIES, COMMON, LANGUAGES, NOUNS, PEOPLE, Values

# ---------------------------------------------------------------------------- system texts
PERSONAS = ["You are a helpful assistant.", "You are a careful assistant.", "You are a coding agent.", "You help with files and commands.",
            "Answer briefly.", "Be concise.", "You are an assistant that uses tools.", "Use tools when they help.", "You are a friendly assistant.",
            "Keep answers short and direct.", "You are an expert programmer.", "Follow the instructions of the user."]


def foreign(v, words):
    """Text that has nothing to do with the request: headings, prose, lists, code, data."""
    out, count = [], 0
    while count < words:
        part = v.rng.choice([v.paragraph, v.paragraph, v.code, lambda: f"# {v.phrase(1, 4)}", lambda: f"## {v.phrase(1, 4)}",
                             lambda: "\n".join(f"- {v.sentence()}" for _ in range(v.rng.randint(2, 6))),
                             lambda: "\n".join(f"{n}. {v.sentence()}" for n in range(1, v.rng.randint(3, 6))),
                             lambda: json.dumps({v.nonsense(): v.word() for _ in range(v.rng.randint(1, 5))}),
                             lambda: f"<{v.nonsense(1, 1)}>\n{v.paragraph(1, 2)}\n</{v.nonsense(1, 1)}>"])()
        out.append(part)
        count += 1 + len(part) // 6
    return "\n\n".join(out) if v.rng.random() < 0.8 else "\n".join(out)


def system_text(v, words):
    rng, roll = v.rng, v.rng.random()
    if words:
        text = foreign(v, words)
        return rng.choice(PERSONAS) + "\n\n" + text if rng.random() < 0.6 else text
    if roll < 0.3:
        return ""
    if roll < 0.65:
        return " ".join(rng.sample(PERSONAS, rng.randint(1, 3)))
    return rng.choice(PERSONAS) + "\n\n" + foreign(v, rng.choice([10, 20, 40, 80]))


# ---------------------------------------------------------------------------- tools
def toolbox(v, size):
    """Tools of different names."""
    tools, names, concepts = [], set(), set()
    while len(tools) < size:
        concept = v.rng.choice(list(CONCEPTS)) if v.rng.random() < 0.6 else None
        if concept in concepts:
            continue
        tool = Tool(v, concept)
        if tool.name in names or concept is None and any(tool.verb == t.verb and tool.noun == t.noun for t in tools if not t.concept):
            continue
        names.add(tool.name)
        if concept:
            concepts.add(concept)
        tools.append(tool)
    return tools


def politeness(v, text, fixed):
    """The request as people write it; `fixed` if it begins with a value, which must stay as it is."""
    rng, roll = v.rng, v.rng.random()
    if roll < 0.12 and not text.startswith(("can you", "I ", "please")):
        text = rng.choice(["please ", "Please ", "could you ", "now ", "ok, ", "hey, ", "next, "]) + text
    if roll > 0.9 and not text.endswith("?"):
        text += rng.choice([", please", " please", " now", ", thanks"]) if not text.endswith(tuple("0123456789")) else ", please"
    if rng.random() < 0.35 and not fixed and text[0].isalpha() and " " in text.split("/")[0]:
        text = text[0].upper() + text[1:]
    return text


def call_message(v, calls, thinking, lead=None):
    rng = v.rng
    message = {"role": "assistant", "content": "", "tool_calls": [
        {"id": f"call_{n}", "type": "function", "function": {"name": tool.name, "arguments": json.dumps(arguments, ensure_ascii=False)}}
        for n, (tool, arguments) in enumerate(calls)]}
    if thinking:
        parts = []
        for tool, arguments in calls:
            listed = ", ".join(f"{key} {json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}" for key, value in arguments.items())
            parts.append(f"{tool.name} with {listed}" if listed else f"{tool.name} without arguments")
        message["reasoning_content"] = "I need " + " and ".join(parts) + "."
    return message


def refusal(v, thinking, tools):
    """A request that none of the tools is for."""
    missing = sorted(set(CONCEPTS) - {"calc"} - {tool.concept for tool in tools if tool.concept})
    if not missing:
        return strings(v, thinking)
    tool = Tool(v, v.rng.choice(missing))
    text, _ = tool.ask()
    return exchange(politeness(v, text, tool.fixed), "I have no tool for that.", thinking, "None of my tools does that." if tools else "I have no tools.")



def tool_turns(v, tools, messages, thinking, turns):
    """User turns that call tools, with results and answers."""
    rng = v.rng
    for _ in range(turns):
        roll = rng.random()
        if roll < 0.1:
            messages.extend(small_talk(v, thinking, tools) if roll < 0.06 else refusal(v, thinking, tools))
            continue
        count = 2 if roll > 0.75 else 1
        calls, texts = [], []
        tool = rng.choice(tools)
        for n in range(count):
            if n and rng.random() < 0.6:
                tool = rng.choice(tools)
            text, arguments = tool.ask()
            calls.append((tool, arguments))
            texts.append(text.rstrip("?") if count > 1 else text)
        messages.append({"role": "user", "content": politeness(v, rng.choice([" and ", " and ", ", then ", " and also ", ". Then "]).join(texts), calls[0][0].fixed)})
        messages.append(call_message(v, calls, thinking))
        answers = []
        for n, (tool, arguments) in enumerate(calls):
            result, answer = tool.respond(arguments)
            answers.append(answer)
            messages.append({"role": "tool", "tool_call_id": f"call_{n}", "content": result})
        message = {"role": "assistant", "content": "\n\n".join(answers)}
        if thinking:
            message["reasoning_content"] = rng.choice(["I have the result.", "The result is there."]) if count == 1 else "I have both results."
        messages.append(message)
    return messages


# ---------------------------------------------------------------------------- plain talk
SELF = [
    (["who are you?", "what are you?", "what is your name?", "tell me about yourself", "introduce yourself", "who am I talking to?", "your name?"],
     ["I am the demo model of ds4: a very small model of the DeepSeek V4 architecture, trained to show that everything works."]),
    (["hello", "hi", "hey", "good morning", "hello there", "hi!", "good evening", "hello, how are you?", "moin", "greetings"],
     ["Hello! I am the demo model of ds4. What can I do for you?", "Hello! How can I help?"]),
    (["what can you do?", "help", "what are you good for?", "how can you help me?", "what do you know?", "which skills do you have?"],
     ["I can call tools, answer short questions about ds4, and do a little arithmetic. For anything else load a real DeepSeek V4 model."]),
    (["what is ds4?", "tell me about ds4", "what is this program?", "explain ds4", "what does ds4 do?"],
     ["ds4 is an inference engine for DeepSeek V4, written in Rust: an engine, a server, an agent and tools."]),
    (["how do I get a real model?", "how do I download the real weights?", "how can I run the full model?", "where is the big model?", "how do I load real weights?", "can I use a better model?"],
     ["Run `ds4 pull` to download the real weights, and start `ds4` with `-m FILE`."]),
    (["what is DeepSeek V4?", "tell me about DeepSeek V4", "which model are you based on?", "what is your architecture?", "how do you work?"],
     ["DeepSeek V4 is a mixture-of-experts language model with compressed attention. I have the same architecture, only thousands of times smaller."]),
    (["how big are you?", "how many parameters do you have?", "how large is your model?", "what size are you?"],
     ["About 13 million parameters in 5 layers. The real models have hundreds of billions."]),
    (["are you smart?", "can you write a novel?", "write me a poem", "write an essay about history", "what is the capital of France?", "explain quantum physics", "who won the war?", "write a program that sorts a list", "what do you think about politics?", "tell me a joke", "give me advice", "translate this book"],
     ["I am too small for that. Load a real DeepSeek V4 model and ask again."]),
    (["thanks", "thank you", "great, thanks", "thank you very much", "good job", "well done", "nice"], ["You are welcome.", "Glad to help."]),
    (["bye", "goodbye", "see you", "that is all", "good night", "quit"], ["Goodbye!", "See you!"]),
    (["are you there?", "can you hear me?", "test", "ping", "does this work?", "is this thing on?"], ["Yes, I am here.", "Yes, it works."]),
    (["who made you?", "who trained you?", "where do you come from?", "how were you trained?"],
     ["I was trained by the ds4 project on made-up conversations, in minutes, on one GPU."]),
]


def exchange(user, answer, thinking, reasoning):
    message = {"role": "assistant", "content": answer}
    if thinking:
        message["reasoning_content"] = reasoning
    return [{"role": "user", "content": user}, message]


def small_talk(v, thinking, tools=None):
    """A user turn that needs no tool."""
    rng, roll = v.rng, v.rng.random()
    if roll < 0.45:
        asks, answers = rng.choice(SELF)
        ask = rng.choice(asks)
        ask = ask.rstrip("?!") if rng.random() < 0.2 else ask
        ask = ask[0].upper() + ask[1:] if rng.random() < 0.4 else ask
        return exchange(ask, answers[0] if rng.random() < 0.7 else rng.choice(answers), thinking, rng.choice(["That needs no tool.", "I can answer that."]) if tools else "I can answer that.")
    if roll < 0.6 and not tools:
        return arithmetic(v, thinking)
    if roll < 0.85 or tools:
        return strings(v, thinking)
    a, b = v.phrase(1, 3), v.phrase(1, 4)
    asked = rng.choice([f"my {a} is {b}", f"remember that my {a} is {b}"])
    return exchange(asked, f"I will remember: your {a} is {b}.", thinking, "I shall remember it.")


def arithmetic(v, thinking):
    rng = v.rng
    a, b, op = rng.randint(0, 99), rng.randint(0, 99), rng.choice("++-*")
    if op == "*":
        a, b = rng.randint(0, 12), rng.randint(0, 12)
    if op == "-" and b > a:
        a, b = b, a
    result = {"+": a + b, "-": a - b, "*": a * b}[op]
    word = {"+": "plus", "-": "minus", "*": "times"}[op]
    ask = rng.choice([f"what is {a} {op} {b}?", f"{a} {op} {b}", f"{a}{op}{b}", f"how much is {a} {word} {b}?", f"what is {a} {word} {b}?", f"compute {a} {op} {b}", f"{a} {op} {b} ="])
    reasoning = f"{a} {word} {b}."
    if op in "+-" and (a > 9 or b > 9):
        tens, ones = (a // 10 * 10 + b // 10 * 10, a % 10 + b % 10) if op == "+" else (a // 10 * 10 - b // 10 * 10, a % 10 - b % 10)
        reasoning = f"{a // 10 * 10} {word} {b // 10 * 10} is {tens}, {a % 10} {word} {b % 10} is {ones}, together {result}."
    return exchange(ask, rng.choice([f"{a} {op} {b} = {result}", f"{result}"]), thinking, reasoning)


def strings(v, thinking):
    rng, kind = v.rng, v.rng.randint(0, 6)
    text, word = v.phrase(1, 6), rng.choice(COMMON)
    if kind == 0:
        return exchange(rng.choice([f"repeat after me: {text}", f"say: {text}", f'say "{text}"', f"echo {text}", f"repeat: {text}"]), text, thinking, "I repeat it.")
    if kind == 1:
        n = rng.randint(2, 5)
        return exchange(rng.choice([f'say "{word}" {n} times', f"repeat {word} {n} times", f"write {word} {n} times"]), " ".join([word] * n), thinking, f"{n} times {word}.")
    if kind == 2:
        items = [v.word() for _ in range(rng.randint(2, 6))]
        which, index = rng.choice([("first", 0), ("last", -1), ("second", 1)])
        return exchange(f"what is the {which} word of: {' '.join(items)}", items[index], thinking, f"The words are {', '.join(items)}.")
    if kind == 3:
        items = [v.word() for _ in range(rng.randint(2, 5))]
        return exchange(rng.choice([f"make a list of {', '.join(items)}", f"list these as bullets: {', '.join(items)}"]), "\n".join(f"- {item}" for item in items), thinking, f"{len(items)} items.")
    if kind == 4:
        items = rng.sample(COMMON, rng.randint(2, 6))
        return exchange(rng.choice([f"how many words are in: {' '.join(items)}", f"count the words: {' '.join(items)}"]), str(len(items)), thinking, "I count " + ", ".join(f"{n} {item}" for n, item in enumerate(items, 1)) + ".")
    if kind == 5:
        return exchange(rng.choice([f"write {text} in quotes", f"put quotes around {text}"]), f'"{text}"', thinking, "Quotes around it.")
    items = [v.word() for _ in range(rng.randint(2, 4))]
    return exchange(f"reverse the order of these words: {' '.join(items)}", " ".join(reversed(items)), thinking, f"From the last: {', '.join(reversed(items))}.")


def chat(v, thinking):
    """A conversation without tools; sometimes the system text has a rule for the answers."""
    rng, roll = v.rng, v.rng.random()
    messages, rule = [], None
    if roll < 0.25:
        word = v.word()
        text, rule = rng.choice([(f"End every answer with {word}.", lambda t: f"{t} {word}"), (f"Begin every answer with {word}.", lambda t: f"{word} {t}"),
                                 (f"Answer only with the word {word}.", lambda t: word), (f"Always answer: {word}", lambda t: word)])
        messages.append({"role": "system", "content": rng.choice(["", "", rng.choice(PERSONAS) + " "]) + text})
    elif roll < 0.4:
        name = rng.choice([rng.choice(PEOPLE), v.nonsense(2, 2).capitalize()])
        messages.append({"role": "system", "content": rng.choice([f"You are {name}.", f"Your name is {name}.", f"You are {name}, a helpful assistant."])})
        messages.extend(exchange(rng.choice(["who are you?", "what is your name?", "your name?"]), f"I am {name}.", thinking, "The system text says it."))
    else:
        text = system_text(v, 0)
        if text:
            messages.append({"role": "system", "content": text})
    for _ in range(rng.randint(2, 6)):
        ask, answer = small_talk(v, thinking) if rng.random() < 0.93 else refusal(v, thinking, [])
        if rule:
            answer["content"] = rule(answer["content"])
        messages += [ask, answer]
    if not rule and rng.random() < 0.15:
        key, value = v.phrase(1, 2), v.phrase(1, 3)
        messages.extend(exchange(f"my {key} is {value}", f"I will remember: your {key} is {value}.", thinking, "I shall remember it."))
        if rng.random() < 0.5:
            messages.extend(small_talk(v, thinking))
        messages.extend(exchange(f"what is my {key}?", f"Your {key} is {value}.", thinking, "They told me before."))
    return messages


def conversation(rng, long):
    """One training conversation. `long` is how many words of foreign text and tools stand in front."""
    v, thinking = Values(rng, False), rng.random() < 0.5
    if rng.random() < 0.2 and not long:
        return {"thinking": thinking, "messages": chat(v, thinking)}
    size = rng.choice([1, 1, 2, 2, 3, 3, 4, 5, 6, 8])
    if long and rng.random() < 0.4:
        size, long = min(60, long // 60 + 2), long // 3
    tools = toolbox(v, size)
    messages = [{"role": "system", "content": system_text(v, long), "tools": [tool.schema for tool in tools]}]
    turns = rng.choice([1, 2, 2, 3]) if not long else rng.choice([2, 3, 4, 5])
    return {"thinking": thinking, "messages": tool_turns(v, tools, messages, thinking, turns)}


# ---------------------------------------------------------------------------- held-out cases
def held_out_case(rng, number):
    """A request with names never trained on, the calls it asks for, and the answer that makes them.

    One in ten has a long text in front.
    """
    v, thinking = Values(rng, True), number % 2 == 0
    kind = ["single", "single", "single", "parallel", "two-turn", "single", "parallel", "generic", "two-turn", "long"][number % 10]
    words = 0
    if kind == "long":
        words = [800, 1600, 3000, 4500, 5500, 6300][number // 10 % 6]
    size = rng.choice([2, 3, 4, 5, 6])
    while True:
        tools = toolbox(v, size)
        if kind != "generic" or any(tool.concept is None for tool in tools):
            break
    pool = [tool for tool in tools if tool.concept is None] if kind == "generic" else tools
    messages = [{"role": "system", "content": system_text(v, words), "tools": [tool.schema for tool in tools]}]
    if kind == "two-turn":
        tool_turns(v, tools, messages, thinking, 1)
    calls, texts = [], []
    for _ in range(2 if kind == "parallel" else 1):
        tool = rng.choice(pool)
        text, arguments = tool.ask()
        calls.append((tool, arguments))
        texts.append(text.rstrip("?") if kind == "parallel" else text)
    messages.append({"role": "user", "content": politeness(v, " and ".join(texts), calls[0][0].fixed)})
    expected = [{"name": tool.name, "arguments": arguments} for tool, arguments in calls]
    case = {"id": f"{kind}-{number}", "kind": kind, "thinking": thinking, "messages": messages, "calls": expected}
    return case, call_message(v, calls, thinking)


# ---------------------------------------------------------------------------- vocabulary
FRONT = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
ADDED = ["<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜User｜>", "<｜Assistant｜>", "<|EOT|>",
         "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁outputs▁begin｜>",
         "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜tool▁sep｜>", "<｜begin▁of▁repo▁name｜>",
         "<｜end▁of▁repo▁name｜>", "<｜begin▁of▁file▁name｜>", "<｜end▁of▁file▁name｜>", "<｜begin▁of▁file｜>", "<｜end▁of▁file｜>", "<think>",
         "</think>", "<｜place▁holder▁for▁copy｜>", "<｜place▁holder▁for▁pointer▁replace｜>", "｜DSML｜", "<｜begin▁sys｜>", "<｜end▁sys｜>",
         "<｜latest_reminder｜>", "<｜action｜>", "<｜query｜>", "<｜authority｜>", "<｜domain｜>", "<｜task｜>", "<｜political｜>", "<｜entity｜>",
         "<｜title｜>", "<｜safety｜>", "<｜answer｜>", "<｜search｜>", "<dsml:", "</dsml:", "<｜search▁begin｜>", "<｜search▁end｜>",
         "<｜extracted_url｜>", "<｜read_url｜>", "<｜end_of_query｜>"]


def alphabet():
    """Byte -> the printable character that stands for it."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in own}
    for n, byte in enumerate(byte for byte in range(256) if byte not in table):
        table[byte] = chr(0x100 + n)
    return table


# What merges stay within: letters, underscores, marks of JSON and of the markup (with a space in front, or line ends
# behind `>`), parentheses, backticks, spaces, and all other marks.
RUN = re.compile(r"""="|[^\W\d_]+|_+|</?|[ ]?["\[\]{}>,:]+(?:(?<=>)\n+)?|[()]+|`+|\s+|[^\w\s"\[\]{}<>,:()`]+""")


def learn_merges(counts, wanted):
    """Byte-pair encoding: the most frequent pair becomes a token, again and again.

    Merges stay within a run (digits are never merged), so that a value is spelt in the same tokens wherever it stands:
    behind a space or a quote in a request, behind `">` and before `</` in a call. The pre-tokenizer would allow more,
    but with ` name` and `">../` as tokens, copying would mean respelling.
    """
    table = alphabet()
    runs = Counter()
    for piece, count in counts:
        for run in RUN.findall(piece):
            runs[run] += count
    runs = [(run, count) for run, count in runs.items() if count > 2]
    pieces = [[table[byte] for byte in run.encode()] for run, _ in runs]
    weights = [count for _, count in runs]
    pairs, where = Counter(), defaultdict(set)
    for n, piece in enumerate(pieces):
        for pair in zip(piece, piece[1:]):
            pairs[pair] += weights[n]
            where[pair].add(n)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    merges, known = [], set(table.values())
    while len(merges) < wanted and heap:
        count, pair = heapq.heappop(heap)
        if pairs[pair] != -count:
            if pairs[pair] > 0:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        merged, touched = "".join(pair), set()
        if merged not in known:
            known.add(merged)
        else:
            # Another way to the same token: a vocabulary holds each once.
            pairs[pair] = 0
            continue
        merges.append(pair)
        for n in where.pop(pair):
            piece, at, out = pieces[n], 0, []
            while at < len(piece):
                if at + 1 < len(piece) and (piece[at], piece[at + 1]) == pair:
                    out.append(merged)
                    at += 2
                else:
                    out.append(piece[at])
                    at += 1
            for old in zip(piece, piece[1:]):
                pairs[old] -= weights[n]
                touched.add(old)
            for new in zip(out, out[1:]):
                pairs[new] += weights[n]
                where[new].add(n)
                touched.add(new)
            pieces[n] = out
        pairs[pair] = 0
        for other in touched:
            if pairs[other] > 0:
                heapq.heappush(heap, (-pairs[other], other))
    return merges


def vocabulary(lines, size):
    counts = []
    for line in lines:
        count, piece = line.split("\t", 1)
        counts.append((json.loads(piece), int(count)))
    wanted = size - len(FRONT) - 256 - len(ADDED)
    merges = learn_merges(counts, wanted)
    if len(merges) < wanted:
        sys.exit(f"the text has only {len(merges)} merges for {wanted} places: give more text")
    table = alphabet()
    tokens = FRONT + [table[byte] for byte in range(256)] + ["".join(pair) for pair in merges] + ADDED
    types = [3] * len(FRONT) + [1] * (256 + len(merges)) + [3] * len(ADDED)
    return {"tokens": tokens, "types": types, "merges": [" ".join(pair) for pair in merges]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "cases", "exam", "vocabulary"])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--long", type=float, default=0.0, help="share of conversations behind long text")
    parser.add_argument("--words", type=int, default=9000, help="most words of that text")
    parser.add_argument("--size", type=int, default=8192)
    options = parser.parse_args()
    if options.what == "vocabulary":
        print(json.dumps(vocabulary(sys.stdin, options.size), ensure_ascii=False))
        return
    rng = random.Random(options.seed)
    for number in range(options.count):
        if options.what in ("cases", "exam"):
            line, answer = held_out_case(rng, number)
            if options.what == "exam":
                line["messages"].append(answer)
        else:
            long = int(options.words * rng.random() ** 1.5) + 100 if rng.random() < options.long else 0
            line = conversation(rng, long)
        print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main()
